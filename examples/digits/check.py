"""What the digits example promises beside what its README shows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from examples.figures import Figure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from examples.running import Served

DATA = "mnist/train-images-idx3-ubyte.gz"
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_RANDOM = 20
#: Of the random ones; a model of 97 % misses more than three of twenty once in five hundred draws.
_RIGHT = 17


def figures(metrics: dict[str, Any]) -> list[Figure]:
    """On the ten thousand digits that MNIST holds out."""
    return [Figure(name="accuracy", reached=metrics["accuracy"]["value"], promised=0.97)]


def check(served: Served) -> list[str]:
    """Random images are read, errors come in the old shape and the caller's language, and there is an index page."""
    return [*_old_client(served), *_random_images(served), *_errors(served), *_index(served)]


def _old_client(served: Served) -> Iterator[str]:
    """The old client named the file of the model, and read a number."""
    for form in ("-F image=@samples/seven.png -F model=clf.pickle", "-F image=@samples/seven.png"):
        answer = _asked(served, form)
        if answer.get("status_code") != 200 or not isinstance(answer.get("prediction"), int) or answer.get("error") is not None:
            yield f"{form}: {answer}"


def _random_images(served: Served) -> Iterator[str]:
    written = served.run(f"python random_images.py --count {_RANDOM} --seed 7").split()
    if len(written) != _RANDOM:
        yield f"random_images.py wrote {len(written)} images and not {_RANDOM}"
    right = 0
    for name in written:
        answer = _asked(served, f"-F image=@{name} -F model=digits")
        right += WORDS[answer["prediction"]] == Path(name).stem.partition("-")[2]
    if served.real and right < _RIGHT:
        yield f"{right} of {_RANDOM} random held-out images were read right"


def _errors(served: Served) -> Iterator[str]:
    wrong = {
        "-F model=digits": (422, "no_input"),
        "-F image=@README.md -F model=digits": (415, None),
        "-F image=@samples/seven.png -F model=nobody": (404, "model_not_found"),
        "-F image=@samples/seven.png -F model=other.pickle": (404, "model_not_found"),
    }
    for form, (status, code) in wrong.items():
        said = {language: _asked(served, f"-H 'Accept-Language: {language}' {form}") for language in ("en", "es")}
        for answer in said.values():
            empty = [answer.get(name, "absent") for name in ("query_id", "prediction", "execution_time")]
            if answer.get("status_code") != status or empty != [None] * 3 or code not in (None, answer.get("code")):
                yield f"{form}: {answer}"
        if said["en"]["error"] == said["es"]["error"]:
            yield f"{form}: the same sentence in both languages, {said['en']['error']!r}"


def _index(served: Served) -> Iterator[str]:
    page = served.run(f"curl --silent --fail {served.url}/")
    if "<form" not in page or "digits" not in page:
        yield "the index page has no form for digits"


def _asked(served: Served, form: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(served.run(f"curl --silent {form} {served.url}/predict/"))
    return answer
