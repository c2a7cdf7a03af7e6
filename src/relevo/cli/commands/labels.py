"""`relevo label`: labels one prediction or imports a CSV file; exports labels; shows which labelled data is fit for training.

relevo label QUERY_ID LABEL    is short for relevo label give QUERY_ID LABEL
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer
import typer.core

from relevo.cli.help import usage_error
from relevo.cli.options import AsJson, Ca, Home, Key, Url, require_home
from relevo.cli.output import progress, say, show_json, show_table, warn
from relevo.cli.translate import translate
from relevo.errors import MissingInputError, OriginError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from relevo.cli.label_import import Line, Outcome
    from relevo.config import Settings

_MAX_ROWS = 20
_PAGE_SIZE = 1000


class _Group(typer.core.TyperGroup):
    """Runs `give` when the first argument is no command."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Inserts the command `give` where it is left out."""
        if args and args[0] not in self.commands and args[0] != "--help":
            args = ["give", *args]
        return super().parse_args(ctx, args)


group = typer.Typer(
    help="Say what predictions should have been, one by one or by a file.",
    cls=_Group,
    rich_markup_mode=None,
    no_args_is_help=True,
)


def register(app: typer.Typer) -> None:
    """Adds the commands of this module."""
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

    label = source(home, url, key, ca).label(query_id, value, author, note)
    if as_json:
        show_json(label)
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
    from relevo.cli.label_import import Columns, read_lines

    if own_key is not None and model is None:
        raise usage_error("--match needs --model.")
    lines = read_lines(file, Columns(query_id=id_column, label=label_column, key=own_key))
    with progress(quiet=as_json) as step:

        def on_progress(done: int) -> None:
            step(done, 0, "reading")

        if url is not None:
            outcome = _at_server(url, key, ca, lines, on_progress, own_key=own_key, author=author)
        else:
            outcome = _in_folder(home, lines, on_progress, author=author, model=model, field=field or own_key)
    _show_outcome(outcome, rejects, as_json=as_json)


def _at_server(
    url: str,
    key: str | None,
    ca: Path | None,
    lines: Iterator[Line],
    on_progress: Callable[[int], None],
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
        return import_remotely(client, lines, on_progress)


def _in_folder(
    home: Path | None,
    lines: Iterator[Line],
    on_progress: Callable[[int], None],
    *,
    author: str | None,
    model: str | None,
    field: str | None,
) -> Outcome:
    from relevo.cli.label_import import LabelImporter, find_by_record_key
    from relevo.server import open_store

    store = open_store(require_home(home), begins=False)
    if model is None or field is None:
        return LabelImporter(store, author).run(lines, on_progress)
    line_list = list(lines)
    keys = find_by_record_key(store, model, field, [line.about for line in line_list])
    return LabelImporter(store, author).run(line_list, on_progress, keys=keys)


def _show_outcome(outcome: Outcome, rejects: Path | None, *, as_json: bool) -> None:
    from relevo.cli.label_import import rejected_as_csv

    if rejects is not None:
        _write(rejects, [rejected_as_csv(outcome.refused).encode()])
    rejected = [{"line": entry.line.number, "about": entry.line.about, "reason": entry.reason} for entry in outcome.refused]
    if as_json:
        counts = {"kept": outcome.kept, "unchanged": outcome.unchanged, "without_label": outcome.empty, "refused": rejected}
        show_json({**counts, "contradictions": outcome.contradictions, "rule": outcome.rule or None})
    else:
        say(f"Kept {outcome.kept}, said before {outcome.unchanged}, without a label {outcome.empty}, refused {len(rejected)}.")
        rows = [(entry["line"], entry["about"], entry["reason"]) for entry in rejected[:_MAX_ROWS]]
        if rows:
            show_table(("line", "about", "reason"), rows, empty="")
        if len(rejected) > _MAX_ROWS:
            say(f"And {len(rejected) - _MAX_ROWS} more: --json lists all, --rejects writes them to a file.")
        _show_contradictions(outcome)
    if rejected:
        raise typer.Exit(1)


def _show_contradictions(outcome: Outcome) -> None:
    contradictions = outcome.contradictions
    if not contradictions:
        return
    warn(
        f"{len(contradictions)} lines tell another truth than an earlier line about the same prediction; both stay in its history."
    )
    if outcome.rule:
        warn(f"Of one author the later line counts; of several authors, what label_aggregation = {outcome.rule} finds.")
    else:
        warn("The later line counts.")
    rows = [(entry.line, entry.label, entry.before, entry.label_before, entry.about) for entry in contradictions[:_MAX_ROWS]]
    show_table(("line", "label", "earlier line", "its label", "about"), rows, empty="")
    if len(contradictions) > _MAX_ROWS:
        say(f"And {len(contradictions) - _MAX_ROWS} more: --json lists all.")


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
    _write(file, _export_from_folder(home, model) if url is None else _export_from_server(url, key, ca, model))
    if str(file) != "-":
        say(f"Written: {file}")


def _export_from_folder(home: Path | None, model: str | None) -> Iterable[bytes]:
    from relevo.server import open_store
    from relevo.web.csv_export import csv_lines

    store = open_store(require_home(home), begins=False)
    return csv_lines(store.predictions, store.labels, store.label_queue, model=model, labelled=True)


def _export_from_server(url: str, key: str | None, ca: Path | None, model: str | None) -> Iterable[bytes]:
    from relevo.client import Client

    with Client(url, key, verify=ca) as client:
        filters = {"labelled": "true"} | ({"model": model} if model else {})
        return [client.download("/predictions.csv", **filters)[1]]


def _write(file: Path, chunks: Iterable[bytes]) -> None:
    """Writes chunk by chunk, because a history may be larger than memory."""
    try:
        if str(file) == "-":
            sys.stdout.buffer.writelines(chunks)
            sys.stdout.buffer.flush()
        else:
            with file.open("wb") as target:
                target.writelines(chunks)
    except OSError as cause:
        raise MissingInputError.with_message(f"'{file}' cannot be written: {cause.strerror or cause}.") from cause


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
    report = _curation_at_server(url, key, ca, model) if url is not None else _curation_in_folder(require_home(home), model)
    if as_json:
        show_json(report)
        return
    say(f"Fit to be learnt from: {report['kept']} of {report['kept'] + len(report['excluded'])}.")
    rows = [
        (entry["query_id"], translate(entry["reason"]), entry["label"], entry["author"], entry["other"])
        for entry in report["excluded"][:_MAX_ROWS]
    ]
    if rows:
        show_table(("query_id", "reason", "label", "author", "because of"), rows, empty="")
    if len(report["excluded"]) > _MAX_ROWS:
        say(f"And {len(report['excluded']) - _MAX_ROWS} more: --json lists all.")


def _curation_in_folder(settings: Settings, model: str) -> dict[str, Any]:
    """Counts and all exclusions, as the server reports them. Raises ModelNotFoundError."""
    from relevo.server import open_store
    from relevo.server.admin import LabelCuration
    from relevo.web.schemas.labels import CurationPage

    store = open_store(settings, begins=False)
    store.registry.aliases(model)  # raises ModelNotFoundError
    report = LabelCuration(store.predictions, store.labels, settings).report(model)
    return CurationPage.from_domain(report, b"", max(len(report.excluded), 1)).model_dump(mode="json", exclude={"next_cursor"})


def _curation_at_server(url: str, key: str | None, ca: Path | None, model: str) -> dict[str, Any]:
    """Counts and all exclusions. Raises ModelNotFoundError, PermissionDeniedError."""
    from relevo.client import Client

    with Client(url, key, verify=ca) as client:
        path = f"/models/{quote(model, safe='')}/cleaning"
        report: dict[str, Any] = client.request_json("GET", path, params={"limit": _PAGE_SIZE})
        while (cursor := report.pop("next_cursor")) is not None:
            page = client.request_json("GET", path, params={"limit": _PAGE_SIZE, "cursor": cursor})
            report["excluded"] += page["excluded"]
            report["next_cursor"] = page["next_cursor"]
    return report
