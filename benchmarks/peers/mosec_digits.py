"""Digits on mosec: a Rust front, two Python workers behind it, dynamic batches.

MOSEC_BATCH: most rows in a batch (default 16). MOSEC_WAIT: most milliseconds a batch waits to fill (default 1; mosec
itself has 10).
The body is the picture itself; mosec reads no forms.
"""

from __future__ import annotations

import os
from typing import Any

from digit_reader import DigitReader
from mosec import Server, Worker

BATCH = int(os.environ.get("MOSEC_BATCH", "16"))


class Digits(Worker):  # type: ignore[misc]  # mosec ships no types that the project's environment could see
    """One of the worker processes."""

    def __init__(self) -> None:
        self._reader = DigitReader()

    def deserialize(self, data: bytes) -> bytes:
        """The body as it came."""
        return data

    def forward(self, data: Any) -> Any:
        """Answers for a batch, in order."""
        return self._reader.answers(data) if BATCH > 1 else self._reader.answers([data])[0]


if __name__ == "__main__":
    server = Server()
    server.append_worker(Digits, num=2, max_batch_size=BATCH, max_wait_time=int(os.environ.get("MOSEC_WAIT", "1")))
    server.run()
