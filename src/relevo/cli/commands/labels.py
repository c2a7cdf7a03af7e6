"""`relevo label`: say what was true, of one prediction or of a whole file; take labels out; see what is fit to be learnt from.

relevo label QUERY_ID LABEL    the same as relevo label give QUERY_ID LABEL
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import typer.core

from relevo.cli.help import misused
from relevo.cli.options import AsJson, Ca, Home, Key, Url, require_home
from relevo.cli.output import progress, say, show_json, show_table, warn
from relevo.cli.translate import said
from relevo.errors import MissingInputError, OriginError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from relevo.cli.label_csv import Line, Outcome

_SHOWN = 20


class _Group(typer.core.TyperGroup):
    """Takes what is none of its commands for the arguments of `give`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """The arguments, with the command that was meant."""
        if args and args[0] not in self.commands and args[0] != "--help":
            args = ["give", *args]
        return super().parse_args(ctx, args)


group = typer.Typer(
    help="Say what predictions should have been, one by one or by a file.",
    cls=_Group,
    rich_markup_mode=None,
    no_args_is_help=True,
)


def add_to(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.add_typer(group, name="label")


@group.command("give")
def give(
    query_id: Annotated[str, typer.Argument(help="The query_id the server answered with.", metavar="QUERY_ID")],
    value: Annotated[str, typer.Argument(help="What it really was: one of the model's labels, or a number.", metavar="LABEL")],
    *,
    author: Annotated[str | None, typer.Option(help="Who says so; you when left out. Not with --url.", metavar="NAME")] = None,
    note: Annotated[str, typer.Option(help="A remark to keep beside it.", metavar="TEXT")] = "",
    home: Home = None,
    url: Url = None,
    key: Key = None,
    ca: Ca = None,
    as_json: AsJson = False,
) -> None:
    """Say what a prediction should have been.

    Saying it again corrects; both stay in the history.
    """
    from relevo.cli.history_source import source

    kept = source(home, url, key, ca).label(query_id, value, author, note)
    if as_json:
        show_json(kept)
    else:
        say(f"Kept: {query_id} was '{value}'.")


@group.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="A CSV with a line for each label.", metavar="FILE.csv")],
    *,
    id_column: Annotated[
        str | None, typer.Option("--id", help="Column with the query_id; query_id or id when left out.", metavar="COLUMN")
    ] = None,
    label_column: Annotated[
        str | None, typer.Option("--label", help="Column with the truth; label, truth or value when left out.", metavar="COLUMN")
    ] = None,
    own_key: Annotated[
        str | None,
        typer.Option("--match", help="Column with a key of your own that the records have, in place of an id.", metavar="COLUMN"),
    ] = None,
    field: Annotated[
        str | None,
        typer.Option("--field", help="Field of the records with that key; of the same name when left out.", metavar="FIELD"),
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="Model whose records --match looks through.", metavar="NAME")
    ] = None,
    author: Annotated[
        str | None, typer.Option(help="Who says so, where the file has no author; you when left out.", metavar="NAME")
    ] = None,
    rejects: Annotated[
        Path | None, typer.Option("--rejects", help="File to write the lines to that were not kept.", metavar="FILE.csv")
    ] = None,
    home: Home = None,
    url: Url = None,
    key: Key = None,
    ca: Ca = None,
    as_json: AsJson = False,
) -> None:
    """Keep the labels of a CSV; lines that cannot be kept are told, each with its reason, and nothing is guessed."""
    from relevo.cli.label_csv import Columns, lines_of

    if own_key is not None and model is None:
        raise misused("--match needs --model.")
    lines = lines_of(file, Columns(query_id=id_column, label=label_column, key=own_key))
    with progress(quiet=as_json) as step:

        def told(done: int) -> None:
            step(done, 0, "reading")

        if url is not None:
            outcome = _at_server(url, key, ca, lines, told, own_key=own_key, author=author)
        else:
            outcome = _in_folder(home, lines, told, author=author, model=model, field=field or own_key)
    _tell(outcome, rejects, as_json=as_json)


def _at_server(
    url: str,
    key: str | None,
    ca: Path | None,
    lines: Iterator[Line],
    told: Callable[[int], None],
    *,
    own_key: str | None,
    author: str | None,
) -> Outcome:
    from relevo.cli.label_import import import_remotely
    from relevo.client import Client

    if own_key is not None:
        raise OriginError(reason="--match looks through the records of the folder; leave --url out")
    if author is not None:
        raise OriginError(reason="with --url the server names the author; leave --author out")
    with Client(url, key, verify=ca) as client:
        return import_remotely(client, lines, told)


def _in_folder(
    home: Path | None,
    lines: Iterator[Line],
    told: Callable[[int], None],
    *,
    author: str | None,
    model: str | None,
    field: str | None,
) -> Outcome:
    from relevo.cli.label_import import LabelImporter, find_by_record_key
    from relevo.server import open_store

    store = open_store(require_home(home), begins=False)
    if model is None or field is None:
        return LabelImporter(store, author).run(lines, told)
    some = list(lines)
    keys = find_by_record_key(store, model, field, [line.about for line in some])
    return LabelImporter(store, author).run(some, told, keys=keys)


def _tell(outcome: Outcome, rejects: Path | None, *, as_json: bool) -> None:
    from relevo.cli.label_csv import refused_as_csv

    if rejects is not None:
        _write(rejects, [refused_as_csv(outcome.refused).encode()])
    refused = [{"line": one.line.number, "about": one.line.about, "reason": one.reason} for one in outcome.refused]
    if as_json:
        counts = {"kept": outcome.kept, "unchanged": outcome.unchanged, "without_label": outcome.empty, "refused": refused}
        show_json({**counts, "contradictions": outcome.contradictions, "rule": outcome.rule or None})
    else:
        say(f"Kept {outcome.kept}, said before {outcome.unchanged}, without a label {outcome.empty}, refused {len(refused)}.")
        rows = [(one["line"], one["about"], one["reason"]) for one in refused[:_SHOWN]]
        if rows:
            show_table(("line", "about", "reason"), rows, empty="")
        if len(refused) > _SHOWN:
            say(f"And {len(refused) - _SHOWN} more: --json lists all, --rejects writes them to a file.")
        _tell_contradictions(outcome)
    if refused:
        raise typer.Exit(1)


def _tell_contradictions(outcome: Outcome) -> None:
    found = outcome.contradictions
    if not found:
        return
    warn(f"{len(found)} lines tell another truth than an earlier line about the same prediction; both stay in its history.")
    if outcome.rule:
        warn(f"Of one author the later line counts; of several authors, what label_aggregation = {outcome.rule} finds.")
    else:
        warn("The later line counts.")
    rows = [(one.line, one.label, one.before, one.label_before, one.about) for one in found[:_SHOWN]]
    show_table(("line", "label", "earlier line", "its label", "about"), rows, empty="")
    if len(found) > _SHOWN:
        say(f"And {len(found) - _SHOWN} more: --json lists all.")


@group.command("export")
def export(
    file: Annotated[Path, typer.Argument(help="File to write, - for standard output.", metavar="FILE.csv")],
    *,
    model: Annotated[str | None, typer.Option("--model", "-m", help="Only this model.", metavar="NAME")] = None,
    home: Home = None,
    url: Url = None,
    key: Key = None,
    ca: Ca = None,
) -> None:
    """Write every labelled prediction with the label that counts as CSV, which `relevo label import` reads back."""
    _write(file, _labelled(home, model) if url is None else _labelled_there(url, key, ca, model))
    if str(file) != "-":
        say(f"Written: {file}")


def _labelled(home: Path | None, model: str | None) -> Iterable[bytes]:
    from relevo.server import open_store
    from relevo.web.csv_export import csv_lines

    store = open_store(require_home(home), begins=False)
    return csv_lines(store.history, store.labels, store.asking, model=model, labelled=True)


def _labelled_there(url: str, key: str | None, ca: Path | None, model: str | None) -> Iterable[bytes]:
    from relevo.client import Client

    with Client(url, key, verify=ca) as client:
        wanted = {"labelled": "true"} | ({"model": model} if model else {})
        return [client.file("/predictions.csv", **wanted)[1]]


def _write(file: Path, pieces: Iterable[bytes]) -> None:
    """Piece by piece: a history may be larger than memory."""
    try:
        if str(file) == "-":
            sys.stdout.buffer.writelines(pieces)
            sys.stdout.buffer.flush()
        else:
            with file.open("wb") as target:
                target.writelines(pieces)
    except OSError as cause:
        raise MissingInputError.told(f"'{file}' cannot be written: {cause.strerror or cause}.") from cause


@group.command("clean")
def clean(
    model: Annotated[str, typer.Argument(help="Name of the model.", metavar="MODEL")],
    *,
    home: Home = None,
    url: Url = None,
    key: Key = None,
    ca: Ca = None,
    as_json: AsJson = False,
) -> None:
    """Show which labelled predictions are fit to be learnt from, and why the others are not; changes nothing."""
    from relevo.cli.label_curation import cleaned_here, cleaned_there

    found = cleaned_there(url, key, ca, model) if url is not None else cleaned_here(require_home(home), model)
    if as_json:
        show_json(found)
        return
    say(f"Fit to be learnt from: {found['kept']} of {found['kept'] + len(found['excluded'])}.")
    rows = [(one["query_id"], said(one["reason"]), one["label"], one["author"], one["other"]) for one in found["excluded"][:_SHOWN]]
    if rows:
        show_table(("query_id", "reason", "label", "author", "because of"), rows, empty="")
    if len(found["excluded"]) > _SHOWN:
        say(f"And {len(found['excluded']) - _SHOWN} more: --json lists all.")
