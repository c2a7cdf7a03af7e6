"""Translates the help pages and usage errors of Typer and Click to the current language.

    Typer's commands ─ translate_command ─► the same commands, with help texts from the Spanish catalogue
    UsageError ─ usage_text ─► "Uso: …" and the error

Typer reads the English help at import, before the language is known, so the texts are replaced in the finished commands.
"""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any

import typer

from relevo.cli.translate import phrase, translate

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Base class of all usage errors; it is defined in a private module of Typer.
WRONG_USAGE: type[Exception] = typer.BadParameter.__bases__[0]
#: What Click appends to the help of an option: [env var: NAME; default: 20; required].
_SUFFIX = re.compile(r"\[[^\[\]]*\]$")
#: Click's type name of a value without a metavar, such as <int>.
_TYPE = re.compile(r" <([^<>]+)>$")
_DEFAULT = re.compile(r"\[default: ([a-z-]+)\]$")
_NUMBER_TYPES = frozenset({"int", "int range", "float", "float range"})


class _Formatter(typer.Context.formatter_class):  # type: ignore[valid-type,misc]  # defined in a private module of Typer
    """Writes one help page, translated. Lifetime: the page."""

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        """Writes the first line."""
        super().write_usage(prog, args, prefix or phrase("Usage: "))

    def write_heading(self, heading: str) -> None:
        """Writes the heading of a list."""
        super().write_heading(translate(heading))

    def write_dl(self, rows: Sequence[tuple[str, str]], *args: Any, **options: Any) -> None:
        """Writes a list of options or commands."""
        super().write_dl([(_TYPE.sub(_metavar, name), _help_text(name, text)) for name, text in rows], *args, **options)


def translate_command(command: Any) -> Any:
    """Translates the help of a command and its subcommands to the current language, in place."""
    command.context_class = type("Context", (command.context_class,), {"formatter_class": _Formatter})
    paragraphs = [translate(paragraph) for paragraph in paragraphs_of(command.help)]
    command.help = "\n\n".join(paragraphs)
    command.short_help = paragraphs[0] if paragraphs else None
    command.options_metavar = translate(command.options_metavar or "")
    for parameter in command.params:
        parameter.help = translate(parameter.help or "")
        parameter.metavar = parameter.metavar and translate(parameter.metavar)
    if hasattr(command, "commands"):
        command.subcommand_metavar = translate(command.subcommand_metavar or "")
        for subcommand in command.commands.values():
            translate_command(subcommand)
    return command


def paragraphs_of(text: str | None) -> list[str]:
    """The paragraphs of a docstring, each as one line."""
    return [" ".join(paragraph.split()) for paragraph in inspect.cleandoc(text or "").split("\n\n") if paragraph.strip()]


def usage_error(message: str) -> Exception:
    """A usage error that concerns no single value: a missing option, or options that exclude each other."""
    return WRONG_USAGE(message)


def usage_text(error: Any) -> str:
    """The message for a usage error, with a hint to the help."""
    message = error.format_message()
    if error.ctx is None:
        return phrase("Error: {told}", told=translate(message))
    usage = error.ctx.get_usage()
    if message.startswith(usage):
        # Without arguments, the message is the whole help page.
        return str(message)
    hint = phrase("Try '{command} {option}' for help.", command=error.ctx.command_path, option="--help")
    return f"{usage}\n{hint}\n\n" + phrase("Error: {told}", told=translate(message))


def _metavar(match: re.Match[str]) -> str:
    """Removes the type of an argument; replaces that of an option by NUMBER or TEXT."""
    if not match.string.startswith("-"):
        return ""
    return f" {translate('NUMBER' if match[1] in _NUMBER_TYPES else 'TEXT')}"


def _help_text(name: str, text: str) -> str:
    """Translates the help of an option or command with Click's additions; shows the default of a flag pair as a flag."""
    default = _DEFAULT.search(text)
    if default and f"--{default[1]} / " in name:
        text = f"{text[: default.start(1)]}--{text[default.start(1) :]}"
    return _SUFFIX.sub(_translate_suffix, translate(text))


def _translate_suffix(match: re.Match[str]) -> str:
    parts = (translate(part) for part in match[0][1:-1].split("; "))
    return f"[{'; '.join(parts)}]"
