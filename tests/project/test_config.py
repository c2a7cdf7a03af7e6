"""relevo.toml of a project: strict keys and the resulting values."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from relevo.domain.decision import ArgmaxDecision, ThresholdDecision
from relevo.errors import ConfigError, UnknownSettingError
from relevo.project.config import Project, read_project

if TYPE_CHECKING:
    from pathlib import Path

MINIMAL = '[model]\nname = "m"\n[data]\npath = "d.csv"\n'


def project(folder: Path, more: str = "") -> Project:
    (folder / "relevo.toml").write_text(MINIMAL + more, encoding="utf-8")
    return read_project(folder)


def test_minimal_project_is_about_records(tmp_path: Path) -> None:
    """A name and a path are enough; all other settings have defaults."""
    config = project(tmp_path)
    assert (config.model.name, config.data.path, config.data.held_out) == ("m", "d.csv", 0.25)
    assert config.image() is None
    assert config.rule() == ArgmaxDecision()


def test_pictures_become_an_input_and_its_steps(tmp_path: Path) -> None:
    """[input] gives the size as height and width, and all preprocessing of pixels."""
    section = '[input]\nkind = "image"\nsize = [10, 20]\nmode = "L"\nscale = 0.5\nresample = "box"\nmean = [1.0]\nstd = [2.0]\n'
    image = project(tmp_path, section).image()
    assert image is not None
    image_input, steps = image
    assert (image_input.height, image_input.width, image_input.mode) == (10, 20, "L")
    assert (steps.scale, steps.resample, steps.mean, steps.std, steps.layout) == (0.5, "box", (1.0,), (2.0,), "flat")
    with pytest.raises(ConfigError, match="size"):
        project(tmp_path, '[input]\nkind = "image"\n').image()


def test_decisions(tmp_path: Path) -> None:
    """Accept and reject make bands, least an argmax; half a rule is rejected."""
    assert project(tmp_path, "[decision]\naccept = 0.9\nreject = 0.1\n").rule() == ThresholdDecision(accept_at=0.9, reject_at=0.1)
    assert project(tmp_path, "[decision]\nleast = 0.6\n").rule() == ArgmaxDecision(min_confidence=0.6)
    for half in ("accept = 0.9", "reject = 0.1", "accept = 0.9\nreject = 0.1\nleast = 0.5"):
        with pytest.raises(ConfigError, match="together"):
            project(tmp_path, f"[decision]\n{half}\n").rule()


@pytest.mark.parametrize(
    ("wrong", "nearest"),
    [
        ("[input]\nkin = 'image'", "kind"),
        ("[decision]\nacept = 0.9", "accept"),
        ("[input]\nresampel = 'box'", "resample"),
    ],
)
def test_a_misspelt_key_names_the_nearest(tmp_path: Path, wrong: str, nearest: str) -> None:
    """An unknown key stops the training."""
    with pytest.raises(UnknownSettingError, match=f"nearest known one is '{nearest}'"):
        project(tmp_path, wrong)


def test_wrong_values_and_missing_keys_are_named(tmp_path: Path) -> None:
    """A value of the wrong type and a missing required key name their section."""
    with pytest.raises(ConfigError, match=r"\[decision\].*accept"):
        project(tmp_path, "[decision]\naccept = 'often'\n")
    (tmp_path / "relevo.toml").write_text("[data]\npath = 'x'\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"\[model\].*name"):
        read_project(tmp_path)


@pytest.mark.parametrize("section", ["retrain", "rollout"])
def test_sections_of_later_releases_are_refused_by_name(tmp_path: Path, section: str) -> None:
    """No section of the file is ignored silently."""
    with pytest.raises(ConfigError, match=f"'{section}', but this release has no such section"):
        project(tmp_path, f"[{section}]\n")


def test_extra_fields_of_an_answer(tmp_path: Path) -> None:
    """[answer] is read, and invalid fields are rejected before anything is trained."""
    assert project(tmp_path, '[answer]\nchurn = "is:yes"\n').answer == {"churn": "is:yes"}
    assert project(tmp_path).answer == {}
    for line, message in (
        ('query_id = "class"', "every answer has"),
        ("churn = 1", "must be a text"),
        ('churn = "yes"', "is:LABEL"),
    ):
        with pytest.raises(ConfigError, match=message):
            project(tmp_path, f"[answer]\n{line}\n")


def test_extra_field_of_unknown_label_is_rejected(tmp_path: Path) -> None:
    """Where the project lists its labels, [answer] is validated against them."""
    toml = MINIMAL.replace('name = "m"', 'name = "m"\nlabels = ["no", "yes"]')
    (tmp_path / "relevo.toml").write_text(toml + '[answer]\nchurn = "is:si"\n', encoding="utf-8")
    with pytest.raises(ConfigError, match="no, yes"):
        read_project(tmp_path)
