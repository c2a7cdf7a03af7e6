"""What the digits example promises beside what its README shows."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from examples.figures import Figure

if TYPE_CHECKING:
    from examples.running import Served

DATA = "mnist"


def figures(metrics: dict[str, Any]) -> list[Figure]:
    """On the 10,000 digits of the data set's own test part."""
    return [Figure(name="accuracy", reached=metrics["accuracy"]["value"], promised=0.99)]


def check(served: Served) -> list[str]:
    """Most of the ten drawn digits are told right, though nobody drew like that in the data."""
    right = 0
    for digit in range(10):
        answer = json.loads(served.run(f"curl --fail --silent -F file=@samples/{digit}.png {served.url}/predict"))
        right += answer["class"] == digit
    return [] if right >= 7 or not served.real else [f"of the ten drawn digits only {right} are told right"]
