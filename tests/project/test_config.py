"""relevo.toml of a project: strict keys, and what they come to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from relevo.domain.decision import ArgmaxDecision, ThresholdDecision
from relevo.errors import ConfigError, UnknownSettingError
from relevo.project.config import Project, read_project

if TYPE_CHECKING:
    from pathlib import Path

LEAST = '[model]\nname = "m"\n[data]\npath = "d.csv"\n'


def project(folder: Path, more: str = "") -> Project:
    (folder / "relevo.toml").write_text(LEAST + more, encoding="utf-8")
    return read_project(folder)


def test_the_least_project_is_about_records(tmp_path: Path) -> None:
    """A name and a path are enough; what is left out has a sensible meaning."""
    it = project(tmp_path)
    assert (it.model.name, it.data.path, it.data.held_out) == ("m", "d.csv", 0.25)
    assert it.image() is None
    assert it.rule() == ArgmaxDecision()


def test_pictures_become_an_input_and_its_steps(tmp_path: Path) -> None:
    """[input] says size as height and width, and everything that turns pixels into numbers."""
    told = '[input]\nkind = "image"\nsize = [10, 20]\nmode = "L"\nscale = 0.5\nresample = "box"\nmean = [1.0]\nstd = [2.0]\n'
    found = project(tmp_path, told).image()
    assert found is not None
    wanted, steps = found
    assert (wanted.height, wanted.width, wanted.mode) == (10, 20, "L")
    assert (steps.scale, steps.resample, steps.mean, steps.std, steps.layout) == (0.5, "box", (1.0,), (2.0,), "flat")
    with pytest.raises(ConfigError, match="size"):
        project(tmp_path, '[input]\nkind = "image"\n').image()


def test_decisions(tmp_path: Path) -> None:
    """Accept and reject make bands, least an argmax; half a rule is refused."""
    assert project(tmp_path, "[decision]\naccept = 0.9\nreject = 0.1\n").rule() == ThresholdDecision(accept=0.9, reject=0.1)
    assert project(tmp_path, "[decision]\nleast = 0.6\n").rule() == ArgmaxDecision(least=0.6)
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
    """A key that would have no effect stops the training."""
    with pytest.raises(UnknownSettingError, match=f"nearest known one is '{nearest}'"):
        project(tmp_path, wrong)


def test_wrong_values_and_missing_keys_are_named(tmp_path: Path) -> None:
    """A value of the wrong kind and a missing required key name their section."""
    with pytest.raises(ConfigError, match=r"\[decision\].*accept"):
        project(tmp_path, "[decision]\naccept = 'often'\n")
    (tmp_path / "relevo.toml").write_text("[data]\npath = 'x'\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"\[model\].*name"):
        read_project(tmp_path)


@pytest.mark.parametrize("section", ["retrain", "rollout"])
def test_sections_of_later_releases_are_refused_by_name(tmp_path: Path, section: str) -> None:
    """Nothing in the file is ignored in silence."""
    with pytest.raises(ConfigError, match=f"'{section}', but this release has no such section"):
        project(tmp_path, f"[{section}]\n")


def test_fields_beside_the_answers_own(tmp_path: Path) -> None:
    """[answer] is taken as it is told, and what cannot be is refused before anything is trained."""
    assert project(tmp_path, '[answer]\nchurn = "is:yes"\n').answer == {"churn": "is:yes"}
    assert project(tmp_path).answer == {}
    for wrong, said in (('query_id = "class"', "every answer has"), ("churn = 1", "must be a text"), ('churn = "yes"', "is:LABEL")):
        with pytest.raises(ConfigError, match=said):
            project(tmp_path, f"[answer]\n{wrong}\n")


def test_a_field_of_a_label_the_project_has_not_is_refused(tmp_path: Path) -> None:
    """Where the project names its labels, [answer] is held against them."""
    named = LEAST.replace('name = "m"', 'name = "m"\nlabels = ["no", "yes"]')
    (tmp_path / "relevo.toml").write_text(named + '[answer]\nchurn = "is:si"\n', encoding="utf-8")
    with pytest.raises(ConfigError, match="no, yes"):
        read_project(tmp_path)
