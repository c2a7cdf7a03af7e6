"""What the X-ray example promises beside what its README shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from examples.figures import Figure

if TYPE_CHECKING:
    from examples.running import Served

DATA = "xray"
#: Scores of a training on another processor differ a little.
TOLERANCE = 0.3


def figures(metrics: dict[str, Any]) -> list[Figure]:
    """On the pictures of patients held out."""
    return [
        Figure(name="accuracy, three classes", reached=metrics["accuracy"]["value"], promised=0.75),
        Figure(name="normal against pneumonia", reached=normal_or_not(metrics), promised=0.93),
    ]


def normal_or_not(metrics: dict[str, Any]) -> float:
    """Share of the pictures rightly called normal or rightly called pneumonia, whichever of the two."""
    normal = next(place for place, one in enumerate(metrics["per_class"]) if one["label"] == "Normal")
    counts = metrics["confusion"]  # rows are answers, columns the truth
    right = sum(
        count for row, line in enumerate(counts) for column, count in enumerate(line) if (row == normal) == (column == normal)
    )
    return right / metrics["rows"]


def check(served: Served) -> list[str]:
    """Nothing goes unencrypted, and the page takes an upload without a script."""
    problems = [] if served.url.startswith("https://") else [f"it serves at {served.url}, unencrypted"]
    plain = served.url.replace("https://", "http://")
    if "answered" in served.run(f"curl --silent --max-time 5 {plain}/ && echo answered || true"):
        problems.append("it also answers without encryption")
    return problems
