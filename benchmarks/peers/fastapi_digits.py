"""Digits on FastAPI as someone writes it who has measured: the answer is made on the event loop, JSON by orjson.

    POST /raw       the picture is the body
    POST /predict   multipart, field `file`
    POST /threads   multipart, answered in FastAPI's thread pool, as most tutorials have it

For a model of 15 µs the thread pool costs more than it frees; /threads is there so that this can be seen.
"""

from __future__ import annotations

import orjson
from digit_reader import DigitReader
from fastapi import FastAPI, Request, Response, UploadFile

app = FastAPI(openapi_url=None)
reader = DigitReader()


def _answer(png: bytes) -> Response:
    return Response(orjson.dumps(reader.answers([png])[0]), media_type="application/json")


@app.post("/raw")
async def raw(request: Request) -> Response:
    """A picture as the body."""
    return _answer(await request.body())


@app.post("/predict")
async def form(file: UploadFile) -> Response:
    """A picture in a form."""
    return _answer(await file.read())


@app.post("/threads")
def in_a_thread(file: UploadFile) -> Response:
    """A picture in a form, answered off the loop."""
    return _answer(file.file.read())
