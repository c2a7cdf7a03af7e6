"""A new project has comments in the user's language."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path  # noqa: TC003 - pytest reads it

import pytest

from relevo.i18n.catalog import LANGUAGES
from relevo.project.config import read_project
from relevo.project.scaffold import start_project


def code_only(path: Path) -> str:
    """Return the file's code without docstrings and comments."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.Module) and ast.get_docstring(node) is not None:
            del node.body[0]
    return ast.dump(tree)


def test_every_language_creates_the_same_project(tmp_path: Path) -> None:
    """A project in another language has the same settings and code as the English one; only its texts differ."""
    for language in LANGUAGES:
        start_project(tmp_path / language / "digits", language=language)
        assert read_project(tmp_path / language / "digits").name == "digits"
    english, *others = (tmp_path / language / "digits" for language in LANGUAGES)
    for other in others:
        assert sorted(file.name for file in other.iterdir()) == sorted(file.name for file in english.iterdir())
        for file in ("data.py", "train.py"):
            assert code_only(other / file) == code_only(english / file)
            assert (other / file).read_text(encoding="utf-8") != (english / file).read_text(encoding="utf-8")
        english_settings, other_settings = (
            tomllib.loads((folder / "relevo.toml").read_text(encoding="utf-8")) for folder in (english, other)
        )
        for settings in (english_settings, other_settings):
            settings["model"].pop("description")
            settings["input"].pop("description")
        assert english_settings == other_settings


@pytest.mark.parametrize(
    ("language", "sentence"), [("en", "measures on the held-out examples"), ("es", "mide con los ejemplos reservados")]
)
def test_readme_is_in_the_language(tmp_path: Path, language: str, sentence: str) -> None:
    """The README of a project names the commands in the user's language, with the project's own name."""
    start_project(tmp_path / "mine", language=language)
    text = (tmp_path / "mine" / "README.md").read_text(encoding="utf-8")
    assert sentence in text
    assert text.startswith("# mine\n")
