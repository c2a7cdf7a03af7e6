"""The X-ray example, from its patients to its last answer over an encrypted line."""

from __future__ import annotations

import runpy
from typing import TYPE_CHECKING

import pytest
from examples.running import EXAMPLES, run_example

from relevo.project.config import read_project
from relevo.project.data import load_examples
from relevo.project.training import split_examples

if TYPE_CHECKING:
    from pathlib import Path


def test_it_answers_as_its_readme_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trained on a few pictures for one epoch, it is served over TLS and answers as documented, and never without encryption."""
    pytest.importorskip("keras", reason="the extra keras is not installed")
    monkeypatch.setenv("EXAMPLE_EPOCHS", "1")
    outcome = run_example("xray", tmp_path, limit=180, tell=lambda _: None)
    assert not outcome.problems
    assert outcome.asked == 2
    assert [one.promised for one in outcome.figures] == [0.75, 0.93]


def test_no_patient_is_on_both_sides(real_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all 2,100 pictures none that is held out shows a patient of whom another was learnt, whatever the class."""
    monkeypatch.setenv("RELEVO_TEST_DATA", str(real_data))
    project = read_project(EXAMPLES / "xray")
    learn, held = split_examples(load_examples(project), project.data.held_out)
    assert len(learn) + len(held) == 2100
    assert 0.2 < len(held) / 2100 < 0.3
    assert not {one.group for one in learn} & {one.group for one in held}


@pytest.mark.parametrize(
    ("name", "whose"),
    [
        ("person1015_virus_1702.jpeg", "person1015"),
        ("person1015_bacteria_3.jpeg", "person1015"),
        ("NORMAL2-IM-1412-0001.jpeg", "NORMAL2-IM-1412"),
        ("IM-0115-0001.jpeg", "IM-0115"),
        ("unknown.jpeg", "unknown.jpeg"),
    ],
)
def test_a_file_tells_its_patient(tmp_path: Path, name: str, whose: str) -> None:
    """The patient is read from the file's name; one that does not tell is a patient of its own."""
    patient = runpy.run_path(str(EXAMPLES / "xray" / "data.py"))["patient"]
    assert patient(tmp_path / name) == whose


def test_normal_against_pneumonia() -> None:
    """Taking one pneumonia for the other is right here; taking it for normal, or the other way, is not."""
    measured = runpy.run_path(str(EXAMPLES / "xray" / "check.py"))["normal_or_not"]
    labels = [{"label": one} for one in ("Bacterial pneumonia", "Normal", "Viral pneumonia")]
    metrics = {"per_class": labels, "rows": 20, "confusion": [[4, 1, 2], [0, 5, 1], [3, 0, 4]]}
    assert measured(metrics) == 18 / 20
