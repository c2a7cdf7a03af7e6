"""The program in the language spoken: its help, its headings, and what it says to wrong usage.

    Typer's commands ─ translated ─► the same, their help out of es/cli.json and es/settings.json
    UsageError ─ usage ─► "Uso: …" and what was wrong

Commands are written in English; Typer has read their help when the language becomes known, so it is exchanged on what Typer made.
"""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any

import typer

from relevo.cli.translate import phrase, translate

if TYPE_CHECKING:
    from collections.abc import Sequence

#: What wrong usage of any kind is raised as; the class itself stands in a private file of Typer.
WRONG_USAGE: type[Exception] = typer.BadParameter.__bases__[0]
#: What the library adds to the help of an option: [env var: NAME; default: 20; required].
_ADDED = re.compile(r"\[[^\[\]]*\]$")
#: What the library shows of a value that has no name of ours: its kind, as Python calls it.
_KIND = re.compile(r" <([^<>]+)>$")
_DEFAULT = re.compile(r"\[default: ([a-z-]+)\]$")
_NUMBERS = frozenset({"int", "int range", "float", "float range"})


class _Formatter(typer.Context.formatter_class):  # type: ignore[valid-type,misc]  # the class stands in a private file of Typer
    """Writes one help page; lives as long as that."""

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        """The first line."""
        super().write_usage(prog, args, prefix or phrase("Usage: "))

    def write_heading(self, heading: str) -> None:
        """The word above a list."""
        super().write_heading(translate(heading))

    def write_dl(self, rows: Sequence[tuple[str, str]], *args: Any, **options: Any) -> None:
        """A list of options or commands."""
        super().write_dl([(_KIND.sub(_named, name), _told(name, told)) for name, told in rows], *args, **options)


def translated(command: Any) -> Any:
    """The command and all below it, their help in the language spoken."""
    command.context_class = type("Context", (command.context_class,), {"formatter_class": _Formatter})
    paragraphs = [translate(one) for one in paragraphs_of(command.help)]
    command.help = "\n\n".join(paragraphs)
    command.short_help = paragraphs[0] if paragraphs else None
    command.options_metavar = translate(command.options_metavar or "")
    for parameter in command.params:
        parameter.help = translate(parameter.help or "")
        parameter.metavar = parameter.metavar and translate(parameter.metavar)
    if hasattr(command, "commands"):
        command.subcommand_metavar = translate(command.subcommand_metavar or "")
        for below in command.commands.values():
            translated(below)
    return command


def paragraphs_of(text: str | None) -> list[str]:
    """The paragraphs of a docstring, each on one line."""
    return [" ".join(one.split()) for one in inspect.cleandoc(text or "").split("\n\n") if one.strip()]


def usage_error(told: str) -> Exception:
    """What to raise where an option is missing, or two do not go together: the value of none is wrong."""
    return WRONG_USAGE(told)


def usage(error: Any) -> str:
    """What was wrong with the words of a command, and where its help is."""
    told = error.format_message()
    if error.ctx is None:
        return phrase("Error: {told}", told=translate(told))
    known = error.ctx.get_usage()
    if told.startswith(known):
        # Nothing was asked at all, so the whole help is the answer.
        return str(told)
    hint = phrase("Try '{command} {option}' for help.", command=error.ctx.command_path, option="--help")
    return f"{known}\n{hint}\n\n" + phrase("Error: {told}", told=translate(told))


def _named(found: re.Match[str]) -> str:
    """An argument's own name says enough; the value of an option is called as others are."""
    if not found.string.startswith("-"):
        return ""
    return f" {translate('NUMBER' if found[1] in _NUMBERS else 'TEXT')}"


def _told(name: str, told: str) -> str:
    """The help of an option or command, what is added to it said too; the default of a pair of flags is the flag itself."""
    default = _DEFAULT.search(told)
    if default and f"--{default[1]} / " in name:
        told = f"{told[: default.start(1)]}--{told[default.start(1) :]}"
    return _ADDED.sub(_added, translate(told))


def _added(found: re.Match[str]) -> str:
    parts = (translate(part) for part in found[0][1:-1].split("; "))
    return f"[{'; '.join(parts)}]"
