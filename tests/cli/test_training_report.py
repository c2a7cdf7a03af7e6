"""The report after a training."""

from __future__ import annotations

from pathlib import Path

from relevo.cli.training_report import report, skipped_images
from relevo.project.image_folder import Unreadable

METRICS = {
    "per_class": [
        {"label": "normal", "precision": 0.9, "recall": 0.8, "f1": 0.847, "rows": 10},
        {"label": "virus", "precision": 0.5, "recall": 0.25, "f1": 0.333, "rows": 4},
    ],
    "confusion": [[8, 3], [2, 1]],
}


def test_every_class_and_every_mistake() -> None:
    """Each class has precision, recall, F1 and rows; each row of the confusion matrix its predictions."""
    lines = [line.split() for line in report(METRICS)]
    assert ["normal", "0.900", "0.800", "0.847", "10"] in lines
    assert ["virus", "0.500", "0.250", "0.333", "4"] in lines
    assert ["normal", "8", "3"] in lines
    assert ["virus", "2", "1"] in lines


def test_nothing_to_tell_of_a_number_or_of_too_many_classes() -> None:
    """Regression and many classes give no report."""
    assert not list(report({"mae": 1.0}))
    assert not list(report({"per_class": [{}] * 20, "confusion": []}))


def test_every_unreadable_file_is_named() -> None:
    """Skipped files are counted and listed with reasons; a long list is shortened; an empty one prints nothing."""
    files = [Unreadable(path=Path(f"cat/{number}.jpg"), reason="The image is damaged.") for number in range(25)]
    lines = list(skipped_images(files))
    assert lines[0] == "left out: 25 files that cannot be read as a picture"
    assert "  cat/0.jpg: The image is damaged." in lines
    assert lines[-2] == "  … and 5 more (--json lists all)"
    assert not list(skipped_images([]))
