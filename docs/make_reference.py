"""Generates the reference pages from the code, in English (name.md) and Spanish (name.es.md).

    config.ROWS ─► settings    Typer app ─► commands    error tree, HTTP map ─► errors    an exposition ─► metrics
    structures of the manifest ─► package-format (package_reference.py)
    routes and access rules ─► the table in http (http_reference.py)

Words translates a sentence with the program's catalogues, or with words.es.json for sentences of these pages only. A sentence
without a translation stays English and is reported on standard error.

--check writes nothing and exits with 1 if a page is out of date. A test runs it.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import http_reference
import package_reference
import typer.main

from relevo.cli.app import app
from relevo.cli.help import paragraphs_of
from relevo.config import OTHER_VARIABLES, SETTINGS
from relevo.errors import RelevoError
from relevo.i18n import catalog
from relevo.telemetry import Telemetry, render
from relevo.web.errors import status_of

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
REFERENCE = HERE / "reference"
_TABLE = "<!-- From here to the end of the table: written by docs/make_reference.py from the code. -->"
_TABLE_ENDS = "<!-- Here the table ends. -->"
#: First words of cells that name a file format.
_FORMATS = {"Keras", "LightGBM", "ONNX", "PMML", "XGBoost", "pickle"}
_NOTE = "<!-- Written by docs/make_reference.py from the code; change it there. -->\n\n"


class Words:
    """Translations into one language. Lifetime: the generation of its pages."""

    def __init__(self, language: str) -> None:
        self.language = language
        self.ending = ".md" if language == "en" else f".{language}.md"
        file = HERE / f"words.{language}.json"
        self._own: dict[str, str] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        self.asked: set[str] = set()
        self.unknown: set[str] = set()

    def say(self, text: str) -> str:
        """Translate a sentence."""
        self.asked.add(text)
        if self.language == "en" or not text:
            return text
        own = self._own.get(text) or self._filled(text)
        told = own or catalog.said(text, self.language)
        if told == text and not own:
            self.unknown.add(text)
        return told

    def _filled(self, text: str) -> str | None:
        """Translate by a template: "{0} rows" for "30 rows"."""
        for template in (one for one in self._own if "{0}" in one):
            facts = catalog.facts_in(template, text)
            if facts is not None:
                self.asked.add(template)
                return self._own[template].format(*facts.values())
        return None

    @property
    def unused(self) -> set[str]:
        """Entries of words.es.json that no page uses."""
        return self._own.keys() - self.asked


def pages() -> tuple[dict[str, str], list[str]]:
    """File name → content, and the problems of the translations."""
    made: dict[str, str] = {}
    wrong: list[str] = []
    for language in catalog.LANGUAGES:
        words = Words(language)
        for name, write in (
            ("settings", settings),
            ("commands", commands),
            ("errors", errors),
            ("metrics", metrics),
            ("package-format", lambda words: package_reference.lines(words.say)),
        ):
            made[name + words.ending] = _NOTE + "\n".join(write(words)) + "\n"
        made["http" + words.ending] = http(words)
        if language != "en":
            made["imported-files" + words.ending] = _NOTE + "\n".join(imported_files(words)) + "\n"
        wrong += [f"no {language}: {text}" for text in sorted(words.unknown)]
        wrong += [f"unused in words.{language}.json: {text}" for text in sorted(words.unused)]
    return made, wrong


def settings(words: Words) -> list[str]:
    """Every setting with its flag, variable, default and range."""
    say = words.say
    lines = [
        f"# {say('Settings')}",
        "",
        say("Each can be given as a flag of `relevo serve`, as a variable of the environment, or as a key of `[server]` in"),
        say(
            "`relevo.toml`; the first of these that says something wins. An unknown key stops the start and names the nearest one."
        ),
        "",
        f"| {say('key')} | {say('flag')} | {say('variable')} | {say('default')} | {say('expects')} | {say('what it does')} |",
        "|---|---|---|---|---|---|",
    ]
    for row in SETTINGS:
        default = f"`{row.default}`" if row.default != "" else say("empty")
        expected = say(row.expected)
        lines.append(f"| `{row.name}` | `{row.flag}` | `{row.variable}` | {default} | {expected} | {say(row.help)} |")
    others = ", ".join(f"`{name}`" for name in sorted(OTHER_VARIABLES))
    return [*lines, "", f"{say('Other variables of ours, which are no settings:')} {others}."]


def commands(words: Words) -> list[str]:
    """Every command with its arguments and options."""
    root = typer.main.get_command(app)
    say = words.say
    lines = [
        f"# {say('Commands')}",
        "",
        say("Exit codes: 0 done, 1 refused or failed (one sentence on standard error), 2 wrong usage, 130 interrupted."),
    ]
    for name, command in _walk(root, "relevo"):
        lines += ["", f"## `{name}`", ""]
        lines += ["\n\n".join(say(one) for one in paragraphs_of(command.help))]
        shown = [one for one in command.params if one.name != "help"]
        settings_too = any(one.name == "route_poll_ms" for one in shown)
        rows = [one for one in shown if not (settings_too and one.name in {row.name for row in SETTINGS})]
        if rows:
            lines += [
                "",
                f"| {say('argument or option')} | {say('what it does')} |",
                "|---|---|",
                *(_row(one, words) for one in rows),
            ]
        if settings_too:
            lines += ["", say("And one flag for every [setting](settings.md).").replace("settings.md", "settings" + words.ending)]
    return lines


def _walk(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    children = getattr(command, "commands", {})
    if name != "relevo":
        yield name, command
    for child, under in children.items():
        yield from _walk(under, f"{name} {child}")


def _row(one: Any, words: Words) -> str:
    if one.param_type_name == "argument":
        shown = one.make_metavar() if one.metavar is None else one.metavar
    else:
        shown = ", ".join([*one.opts, *one.secondary_opts]) + (f" {one.metavar}" if one.metavar else "")
    told = words.say(str(one.help or ""))
    default = one.default
    if isinstance(default, str | int | float) and not isinstance(default, bool) and default != "":
        told += f" {words.say('Default:')} {default}."
    cell = f"`{shown}`".replace("|", "\\|")
    return f"| {cell} | {told.replace('|', chr(92) + '|')} |"


def errors(words: Words) -> list[str]:
    """Every code with its HTTP status and sentence."""
    say = words.say
    lines = [
        f"# {say('Error codes')}",
        "",
        f'{say("The body of every refusal:")} `{{"error": "<sentence>", "code": "…", "field": "…", "request_id": "…"}}`.',
        say("Codes never change their meaning; sentences may, and come in the caller's language."),
        say("Commands print the same sentence and code on standard error."),
        "",
        f"| {say('code')} | HTTP | {say('sentence')} |",
        "|---|---|---|",
    ]
    told = ((kind, catalog.template(kind, words.language).replace("|", chr(92) + "|")) for kind in _kinds(RelevoError))
    return [*lines, *(f"| `{kind.code}` | {status_of(kind)} | {sentence} |" for kind, sentence in told)]


def _kinds(kind: type[RelevoError]) -> Iterator[type[RelevoError]]:
    yield kind
    for child in kind.__subclasses__():
        if child.__module__.startswith("relevo."):
            yield from _kinds(child)


def metrics(words: Words) -> list[str]:
    """Every metric with its type and help."""
    say = words.say
    with tempfile.TemporaryDirectory() as folder:
        Telemetry(Path(folder), "reference").flush()
        page = render(Path(folder)).decode()
    kinds = dict(line.split(maxsplit=3)[2:4] for line in page.splitlines() if line.startswith("# TYPE"))
    helps = dict(line.split(maxsplit=3)[2:4] for line in page.splitlines() if line.startswith("# HELP"))
    lines = [f"# {say('Metrics')}", ""]
    lines += [say("`GET /metrics` on any worker gives the sum over all of them, those that died included."), ""]
    lines += [f"| {say('metric')} | {say('kind')} | {say('what it tells')} |", "|---|---|---|"]
    return [*lines, *(f"| `{name}` | {kinds[name]} | {say(helps[name])} |" for name in sorted(helps))]


def http(words: Words) -> str:
    """The hand-written page with the regenerated table of routes."""
    page = REFERENCE / f"http{words.ending}"
    before, _, rest = page.read_text(encoding="utf-8").partition(_TABLE)
    _, _, after = rest.partition(_TABLE_ENDS)
    return "\n".join([before + _TABLE, "", *http_reference.table(words.say), "", _TABLE_ENDS]) + after


def imported_files(words: Words) -> list[str]:
    """Translation of the English page written by make_imports_table.py."""
    english = (REFERENCE / "imported-files.md").read_text(encoding="utf-8").splitlines()[2:]
    return [_cells(line, words) if line.startswith("| ") else _prose(line, words) for line in english]


def _prose(line: str, words: Words) -> str:
    heading, mark, text = line.rpartition("# ")
    return heading + mark + words.say(text) if not line.startswith("|") else line


def _cells(line: str, words: Words) -> str:
    cells = [_cell(cell.strip(), words) for cell in line.strip("|").split(" |")]
    return "| " + " | ".join(cells) + " |"


def _cell(cell: str, words: Words) -> str:
    path, opening, note = cell.partition(" (")
    if path.startswith("`"):
        return f"{path} ({words.say(note.removesuffix(')'))})" if opening else path
    refused, mark, reason = cell.partition(": ")
    if refused == "refused":
        return f"{words.say(refused)}{mark}{_reason(reason, words.language)}"
    names_itself = not cell or not cell[0].isalpha() or cell.split(maxsplit=1)[0] in _FORMATS
    return cell if names_itself else words.say(cell)


def _reason(sentence: str, language: str) -> str:
    """Translate a rendered error message by finding its template."""
    for kind in _kinds(RelevoError):
        facts = catalog.facts_in(kind.sentence, sentence)
        if facts:
            told = {name: catalog.said(fact, language) for name, fact in facts.items()}
            return catalog.template(kind, language).format(**told)
    return sentence


def main() -> int:
    """Write the pages, or compare them (--check)."""
    outdated = []
    made, wrong = pages()
    for line in wrong:
        sys.stderr.write(line + "\n")
    for name, content in made.items():
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
