"""`relevo predict` and `relevo history`: sends inputs to a server; lists recorded predictions.

predict ─► connect ─► server            history ─► client (--url) | store in --home
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from relevo.cli.options import AsJson, Ca, Home, Key, Url, connect
from relevo.cli.output import progress, say, show_error, show_json, show_table, warn
from relevo.cli.translate import error_text, language, percent, translate
from relevo.errors import InvalidJsonError, MissingInputError, RelevoError
from relevo.util.files import MOST, read_plain_text, refuse_unless_plain
from relevo.util.time_parsing import aware

if TYPE_CHECKING:
    from datetime import datetime

    from relevo.client import Result

Model = Annotated[
    str | None, typer.Option("--model", "-m", help="Name of the model; the server's default when left out.", metavar="NAME")
]


def register(app: typer.Typer) -> None:
    """Adds the commands of this module."""
    app.command("predict")(predict)
    app.command("history")(history)


def predict(
    inputs: Annotated[
        list[str],
        typer.Argument(
            help="Image files, .json files (a record or a list of them), a record as JSON text, or - for JSON on standard input.",
            metavar="INPUT...",
        ),
    ],
    *,
    model: Model = None,
    subject: Annotated[
        str | None,
        typer.Option("--subject", help="Whom they are about, for `relevo erase`; kept as a pseudonym.", metavar="SUBJECT"),
    ] = None,
    url: Url = None,
    key: Key = None,
    ca: Ca = None,
    as_json: AsJson = False,
) -> None:
    """Ask a running server about images or records.

    Without --url it is the server of this folder's settings. What was answered is shown even where others fail; the command then
    ends with code 1.
    """
    named_inputs = [pair for argument in inputs for pair in _read_inputs(argument)]
    payloads = [payload for _, payload in named_inputs]
    failures: dict[int, RelevoError] = {}
    results: list[Result | None]
    with connect(url, key, ca) as client, progress(quiet=as_json) as step:
        client.set_language(language())
        try:
            results = [
                *client.predict_many(model, payloads, progress=lambda done: step(done, len(payloads), "asking"), subject=subject)
            ]
        except RelevoError as error:
            if not error.failures:
                raise
            results, failures = error.results, error.failures
    _show(results, failures, [name for name, _ in named_inputs], as_json=as_json)
    if failures:
        raise typer.Exit(1)


def _show(results: list[Result | None], failures: dict[int, RelevoError], names: list[str], *, as_json: bool) -> None:
    """Prints results on standard output, and errors with the names of their inputs on standard error."""
    if as_json:
        show_json([_to_json(result, failures.get(index), names[index]) for index, result in enumerate(results)])
    elif len(failures) < len(results) or not results:
        rows = [
            (
                *((names[index],) if failures else ()),
                result.prediction,
                _percent(result.confidence),
                translate("uncertain") if result.uncertain else "",
                f"{result.model} {result.version}",
                result.query_id,
            )
            for index, result in enumerate(results)
            if result is not None
        ]
        heads = ("prediction", "confidence", "", "model", "query_id")
        show_table(("input", *heads) if failures else heads, rows, empty="Nothing was asked.")
    for index, error in failures.items():
        show_error(error, names[index] if len(names) > 1 else "")
    not_sent = sum(result is None for result in results) - len(failures)
    if not_sent:
        warn(f"{not_sent} further inputs were not asked.")
    for warning in dict.fromkeys(text for result in results if result is not None for text in result.warnings):
        warn(warning)


def _read_inputs(argument: str) -> list[tuple[str, Any]]:
    """The inputs of one argument, each with its name in error messages."""
    if argument == "-" or argument.lstrip().startswith(("{", "[")):
        records = _parse_records(_read_stdin() if argument == "-" else argument)
        return [(f"[{index}]", record) for index, record in enumerate(records)]
    path = Path(argument)
    try:
        refuse_unless_plain(path)
        if path.suffix != ".json":
            return [(argument, path)]
        return [(f"{argument}[{index}]", record) for index, record in enumerate(_parse_records(read_plain_text(path)))]
    except FileNotFoundError:
        raise MissingInputError.with_message(f"There is no file '{argument}'.") from None
    except (OSError, UnicodeDecodeError) as cause:
        raise MissingInputError.with_message(
            f"'{argument}' cannot be read: {getattr(cause, 'strerror', None) or cause}."
        ) from cause


def _read_stdin() -> str:
    try:
        return sys.stdin.read(MOST)
    except UnicodeDecodeError as cause:
        raise InvalidJsonError(reason="it is not UTF-8") from cause


def _parse_records(text: str) -> list[Any]:
    try:
        parsed = json.loads(text)
    except ValueError as cause:
        raise InvalidJsonError(reason=str(cause)) from cause
    except RecursionError as cause:
        raise InvalidJsonError(reason="it is nested too deeply") from cause
    records = parsed if isinstance(parsed, list) else [parsed]
    if not all(isinstance(record, dict) for record in records):
        raise InvalidJsonError(reason="a record must be an object of named fields")
    return records


def _to_json(result: Result | None, error: RelevoError | None, name: str) -> Any:
    import msgspec

    if result is not None:
        return msgspec.to_builtins(result)
    return {"input": name} if error is None else {"input": name, "error": error_text(error), "code": error.code}


def _percent(share: float | None) -> str:
    return "" if share is None else percent(share)


def history(
    *,
    query_id: Annotated[str | None, typer.Argument(help="Show this one prediction in full.", metavar="QUERY_ID")] = None,
    model: Model = None,
    version: Annotated[int | None, typer.Option(help="Only this version.", metavar="NUMBER")] = None,
    prediction: Annotated[
        str | None, typer.Option("--prediction", help="Only predictions that answered this label.", metavar="LABEL")
    ] = None,
    uncertain: Annotated[
        bool | None, typer.Option("--uncertain/--certain", help="Only uncertain ones, or only the others.")
    ] = None,
    truth: Annotated[str | None, typer.Option(help="Only those that people labelled so.", metavar="LABEL")] = None,
    labelled: Annotated[
        bool | None, typer.Option("--labelled/--unlabelled", help="Only those with a label that counts, or only the others.")
    ] = None,
    requested_by: Annotated[
        str | None, typer.Option("--asked-by", help="Only what this key or user asked: key:ID, user:ID.", metavar="WHO")
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            help="Only from this time on, as 2026-01-31 or 2026-01-31T12:00+01:00; without an offset it is local.", metavar="TIME"
        ),
    ] = None,
    until: Annotated[str | None, typer.Option(help="Only before this time.", metavar="TIME")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.", metavar="NUMBER")] = 20,
    cursor: Annotated[str | None, typer.Option(help="Where the page before ended.", metavar="TEXT")] = None,
    home: Home = None,
    url: Url = None,
    key: Key = None,
    ca: Ca = None,
    as_json: AsJson = False,
) -> None:
    """Show predictions, newest first, with their labels."""
    from relevo.cli.history_source import HEADS, cells, source

    history_source = source(home, url, key, ca)
    if query_id is not None:
        show_json(history_source.get(query_id))
        return
    filters = {
        "model": model,
        "version": version,
        "label": prediction,
        "uncertain": uncertain,
        "truth": truth,
        "labelled": labelled,
        "requested_by": requested_by,
        "since": _parse_time("--since", since),
        "until": _parse_time("--until", until),
    }
    items, next_cursor = history_source.page(
        limit=limit, cursor=cursor, filters={name: value for name, value in filters.items() if value is not None}
    )
    if as_json:
        show_json({"items": items, "next_cursor": next_cursor})
        return
    rows = [cells(item) for item in items]
    show_table(
        HEADS,
        rows,
        empty="No prediction matches." if any(value is not None for value in filters.values()) else "No predictions yet.",
    )
    if next_cursor:
        say(f"More: --cursor {next_cursor}")


def _parse_time(flag: str, text: str | None) -> datetime | None:
    try:
        return None if text is None else aware(text, None)
    except ValueError:
        raise typer.BadParameter("this is no time; write it as 2026-01-31 or 2026-01-31T12:00+01:00", param_hint=flag) from None
