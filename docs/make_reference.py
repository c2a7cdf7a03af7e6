"""Writes the reference pages that are made from the code: settings, commands, error codes, metrics.

    config.ROWS ─► settings.md    Typer app ─► commands.md    error tree, HTTP map ─► errors.md    an exposition ─► metrics.md

With --check nothing is written; exit code 1 tells that a page is out of date. A test runs that.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer.main

from relevo.cli.app import app
from relevo.config import OTHER_VARIABLES, ROWS
from relevo.errors import RelevoError
from relevo.telemetry import Telemetry, render
from relevo.web.problems import status_of

if TYPE_CHECKING:
    from collections.abc import Iterator

REFERENCE = Path(__file__).parent / "reference"
_NOTE = "<!-- Written by docs/make_reference.py from the code; change it there. -->\n\n"


def pages() -> dict[str, str]:
    """File name → content."""
    made = {"settings.md": settings(), "commands.md": commands(), "errors.md": errors(), "metrics.md": metrics()}
    return {name: _NOTE + "\n".join(lines) + "\n" for name, lines in made.items()}


def settings() -> list[str]:
    """Every setting with its flag, variable, default and range."""
    lines = [
        "# Settings",
        "",
        "Each can be given as a flag of `relevo serve`, as a variable of the environment, or as a key of `[server]` in",
        "`relevo.toml`; the first of these that says something wins. An unknown key stops the start and names the nearest one.",
        "",
        "| key | flag | variable | default | expects | what it does |",
        "|---|---|---|---|---|---|",
    ]
    for row in ROWS:
        default = f"`{row.default}`" if row.default != "" else "empty"
        lines.append(f"| `{row.name}` | `{row.flag}` | `{row.variable}` | {default} | {row.expected} | {row.help} |")
    others = ", ".join(f"`{name}`" for name in sorted(OTHER_VARIABLES))
    return [*lines, "", f"Other variables of ours, which are no settings: {others}."]


def commands() -> list[str]:
    """Every command with its arguments and options."""
    root = typer.main.get_command(app)
    lines = [
        "# Commands",
        "",
        "Exit codes: 0 done, 1 refused or failed (one sentence on standard error), 2 wrong usage, 130 interrupted.",
    ]
    for name, command in _walk(root, "relevo"):
        lines += ["", f"## `{name}`", "", str(command.help or "").strip()]
        shown = [one for one in command.params if one.name != "help"]
        settings_too = any(one.name == "watch_every_ms" for one in shown)
        rows = [one for one in shown if not (settings_too and one.name in {row.name for row in ROWS})]
        if rows:
            lines += ["", "| argument or option | what it does |", "|---|---|", *(_row(one) for one in rows)]
        if settings_too:
            lines += ["", "And one flag for every [setting](settings.md)."]
    return lines


def _walk(command: Any, name: str) -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - the command types are Typer's own
    children = getattr(command, "commands", {})
    if name != "relevo":
        yield name, command
    for child, under in children.items():
        yield from _walk(under, f"{name} {child}")


def _row(one: Any) -> str:  # noqa: ANN401 - the parameter types are Typer's own
    if one.param_type_name == "argument":
        shown = one.make_metavar() if one.metavar is None else one.metavar
    else:
        shown = ", ".join([*one.opts, *one.secondary_opts]) + (f" {one.metavar}" if one.metavar else "")
    told = str(one.help or "")
    default = one.default
    if isinstance(default, str | int | float) and not isinstance(default, bool) and default != "":
        told += f" Default: {default}."
    cell = f"`{shown}`".replace("|", "\\|")
    return f"| {cell} | {told.replace('|', chr(92) + '|')} |"


def errors() -> list[str]:
    """Every code with its HTTP status and sentence."""
    lines = [
        "# Error codes",
        "",
        'The body of every refusal: `{"error": "<sentence>", "code": "…", "field": "…", "request_id": "…"}`.',
        "Codes never change their meaning; sentences may, and come in the caller's language.",
        "Commands print the same sentence and code on standard error.",
        "",
        "| code | HTTP | sentence |",
        "|---|---|---|",
    ]
    return [
        *lines,
        *(f"| `{kind.code}` | {status_of(kind)} | {kind.sentence.replace('|', chr(92) + '|')} |" for kind in _kinds(RelevoError)),
    ]


def _kinds(kind: type[RelevoError]) -> Iterator[type[RelevoError]]:
    yield kind
    for child in kind.__subclasses__():
        if child.__module__.startswith("relevo."):
            yield from _kinds(child)


def metrics() -> list[str]:
    """Every metric with its kind and help."""
    with tempfile.TemporaryDirectory() as folder:
        Telemetry(Path(folder), "reference").flush()
        page = render(Path(folder)).decode()
    kinds = dict(line.split(maxsplit=3)[2:4] for line in page.splitlines() if line.startswith("# TYPE"))
    helps = dict(line.split(maxsplit=3)[2:4] for line in page.splitlines() if line.startswith("# HELP"))
    lines = ["# Metrics", "", "`GET /metrics` on any worker gives the sum over all of them, those that died included.", ""]
    lines += ["| metric | kind | what it tells |", "|---|---|---|"]
    return [*lines, *(f"| `{name}` | {kinds[name]} | {helps[name]} |" for name in sorted(helps))]


def main() -> int:
    """Write the pages, or with --check compare them."""
    outdated = []
    for name, content in pages().items():
        path = REFERENCE / name
        if path.is_file() and path.read_text(encoding="utf-8") == content:
            continue
        outdated.append(name)
        if "--check" not in sys.argv:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
    if outdated and "--check" in sys.argv:
        sys.stderr.write(f"out of date: {', '.join(outdated)}; run `make docs`\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
