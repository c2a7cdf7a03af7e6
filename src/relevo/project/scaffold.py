"""`relevo new`: writes a project that can be trained immediately, with comments in the user's language.

template/{en,es}/ ─ folder name for NAME ─► relevo.toml, train.py, data.py, README.md
"""

from __future__ import annotations

import re
from importlib.resources import files
from typing import TYPE_CHECKING

from relevo.errors import ConfigError
from relevo.i18n.catalog import LANGUAGES
from relevo.package.archive import write_error

if TYPE_CHECKING:
    from pathlib import Path

_FILES = ("relevo.toml", "train.py", "data.py", "README.md")
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


def start_project(folder: Path, *, language: str = LANGUAGES[0]) -> list[Path]:
    """Write the files of a new project; its model is named after the folder. Returns the files' paths.

    language: one of catalog.LANGUAGES.

    Raises ConfigError when the name is not a valid model name, the folder cannot be written, or a file exists: nothing is ever
    overwritten.
    """
    name = folder.name
    if _NAME.fullmatch(name) is None:
        raise ConfigError(reason="a project's name must be 1 to 64 of a-z, 0-9, '-' and '_', beginning with a letter or digit")
    problem = write_error(folder)
    if problem is not None:
        raise ConfigError(reason=f"the project {folder} cannot be made: {problem}; choose another place")
    paths = [folder / file for file in _FILES]
    for path in paths:
        if path.exists():
            raise ConfigError(reason=f"{path} is there already; choose another name")
    template = files("relevo.project") / "template" / language
    texts = {path: (template / path.name).read_text(encoding="utf-8").replace("NAME", name) for path in paths}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in texts.items():
            path.write_text(text, encoding="utf-8")
    except OSError as cause:
        raise ConfigError(reason=f"the project {folder} cannot be made: {cause.strerror or cause}; choose another place") from cause
    return paths
