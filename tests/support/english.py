"""The English sentences that stand in the source, as the catalogues know them: each hole of an f-string is a "{}"."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer.main

import relevo
from relevo.cli.app import app
from relevo.cli.help import paragraphs_of
from relevo.config import SETTINGS

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE = Path(relevo.__file__).parent
#: Facts of errors that tell something in words of ours.
FACTS = frozenset({"reason", "expected", "got", "loss", "layer", "options"})
_HOLE = re.compile(r"\{[^{}]*\}")
_LETTERS = re.compile(r"[a-z]{2}")


def anonymous(template: str) -> str:
    """The template with every hole alike, however it is called."""
    return _HOLE.sub("{}", template)


def calls(*rooms: str) -> Iterator[ast.Call]:
    """Every call in these rooms of the source."""
    for room in rooms:
        place = SOURCE / room
        for file in sorted(place.rglob("*.py")) if place.is_dir() else [place.with_suffix(".py")]:
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call):
                    yield node


def told(value: ast.expr) -> Iterator[str]:
    """The texts an expression may be, each with its holes; none for what is computed. A sum is one text."""
    if isinstance(value, ast.Constant) and isinstance(value.value, str):
        yield value.value
    elif isinstance(value, ast.JoinedStr):
        # Literal braces are doubled, as a template has them.
        yield "".join(_doubled(str(part.value)) if isinstance(part, ast.Constant) else "{}" for part in value.values)
    elif isinstance(value, ast.IfExp):
        yield from told(value.body)
        yield from told(value.orelse)
    elif isinstance(value, ast.BinOp) and isinstance(value.op, ast.Add):
        halves = [list(told(half)) for half in (value.left, value.right)]
        if any(halves):
            yield from (left + right for left in halves[0] or ["{}"] for right in halves[1] or ["{}"])


def _doubled(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def reasons(*rooms: str) -> set[str]:
    """Every text that an error is given as a fact in words, or is made of by `told`, where it is more than a name."""
    found: set[str] = set()
    for call in calls(*rooms):
        values = [word.value for word in call.keywords if word.arg in FACTS]
        if isinstance(call.func, ast.Attribute) and call.func.attr == "told":
            values += call.args[:1]
        found |= {text for value in values for text in told(value)}
    return {text for text in found if " " in _HOLE.sub("", text).strip()}


def rooms() -> list[str]:
    """Every room of the source that says something; the console has a chapter of keys."""
    found = {path.stem if path.suffix == ".py" else path.name for path in SOURCE.iterdir() if path.suffix in ("", ".py")}
    return sorted(found - {"__init__", "__main__", "__pycache__", "console", "i18n"})


def everything() -> set[str]:
    """Every text of the source, whatever it is for."""
    found: set[str] = set()
    for room in rooms():
        place = SOURCE / room
        for file in sorted(place.rglob("*.py")) if place.is_dir() else [place.with_suffix(".py")]:
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Constant | ast.JoinedStr | ast.BinOp):
                    found |= {anonymous(text).strip() for text in told(node)}
    # Names of metrics are shown with blanks.
    return found | {text.replace("_", " ") for text in found}


def helps() -> set[str]:
    """Every text of the help: of commands by paragraphs, of options without what is added to it, of settings."""
    found = {row.help for row in SETTINGS}
    waiting: list[Any] = [typer.main.get_command(app)]
    for command in waiting:
        found |= set(paragraphs_of(command.help))
        found |= {parameter.help for parameter in command.params if parameter.help and "[default: " not in parameter.help}
        waiting.extend(getattr(command, "commands", {}).values())
    return {anonymous(text) for text in found}


def words_for_values() -> set[str]:
    """What stands for a value in the help, where it is a word: FOLDER, but neither NHWC|NCHW nor QUERY_ID."""
    found: set[str] = set()
    waiting: list[Any] = [typer.main.get_command(app)]
    for command in waiting:
        found |= {one.metavar for one in command.params if re.fullmatch("[A-Z]+", one.metavar or "")}
        waiting.extend(getattr(command, "commands", {}).values())
    return found


#: What commands show people by, each with the arguments that are sentences of ours.
_SPOKEN = {
    "say": (0,), "warn": (0,), "translate": (0,), "show_table": (), "BadParameter": (0,), "step": (2,), "progress": (2,),
    "tell": (0,), "phrase": (0,), "confirm": (0,), "prompt": (0,),
}  # fmt: skip


def spoken() -> set[str]:
    """Every text that a command shows a person: sentences, heads of tables, what stands where there are no rows, steps."""
    found: set[str] = set()
    for call in calls("cli", "project", "package", "converters", "importing", "server"):
        name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        if name in _SPOKEN:
            values = [call.args[at] for at in _SPOKEN[name] if at < len(call.args)]
            values += [word.value for word in call.keywords if word.arg == "empty"]
            found |= {line.strip() for value in values for text in told(value) for line in text.split("\n")}
    for call in calls("cli", "store/audit/verify"):
        found |= {text for word in call.keywords if word.arg in ("told", "mend", "what") for text in told(word.value)}
    return {text for text in found | _heads() if _LETTERS.search(_HOLE.sub("", text))}


def _heads() -> set[str]:
    """The words of the tuples that commands show as the heads of a table, or as names before facts."""
    found: set[str] = set()
    for file in sorted((SOURCE / "cli").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            named = isinstance(node, ast.Assign) and any("HEADS" in getattr(target, "id", "") for target in node.targets)
            shown = isinstance(node, ast.Call) and getattr(node.func, "id", "") == "show_table"
            heads = node.value if named else node.args[0] if shown else None  # type: ignore[attr-defined]  # as just looked
            if isinstance(heads, ast.Tuple):
                found |= {text for one in heads.elts for text in told(one)}
    return found
