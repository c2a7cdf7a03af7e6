"""A new project is commented in the language of whoever makes it."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path  # noqa: TC003 - pytest reads it

import pytest

from relevo.i18n.catalog import LANGUAGES
from relevo.project.config import read_project
from relevo.project.scaffold import start_project


def bare(path: Path) -> str:
    """What the file does: its code without docstrings and comments."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.Module) and ast.get_docstring(node) is not None:
            del node.body[0]
    return ast.dump(tree)


def test_every_language_starts_the_same_project(tmp_path: Path) -> None:
    """A project in another language loads, trains and is set up exactly as the English one; only its words differ."""
    for language in LANGUAGES:
        start_project(tmp_path / language / "digits", language=language)
        assert read_project(tmp_path / language / "digits").model.name == "digits"
    english, *others = (tmp_path / language / "digits" for language in LANGUAGES)
    for other in others:
        assert sorted(file.name for file in other.iterdir()) == sorted(file.name for file in english.iterdir())
        for file in ("data.py", "train.py"):
            assert bare(other / file) == bare(english / file)
            assert (other / file).read_text(encoding="utf-8") != (english / file).read_text(encoding="utf-8")
        ours, theirs = (tomllib.loads((one / "relevo.toml").read_text(encoding="utf-8")) for one in (english, other))
        for settings in (ours, theirs):
            settings["model"].pop("description")
            settings["input"].pop("description")
        assert ours == theirs


@pytest.mark.parametrize(
    ("language", "said"), [("en", "trains on what is not held out"), ("es", "entrena con lo que no se reserva")]
)
def test_what_to_do_next_is_said_in_the_language(tmp_path: Path, language: str, said: str) -> None:
    """The README of a project tells in its maker's language what to type, with the project's own name."""
    start_project(tmp_path / "mine", language=language)
    text = (tmp_path / "mine" / "README.md").read_text(encoding="utf-8")
    assert said in text
    assert text.startswith("# mine\n")
