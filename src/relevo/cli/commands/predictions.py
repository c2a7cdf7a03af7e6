"""`relevo predict` and `relevo history`: ask a server, look back.

predict ─► asked_server ─► server            history ─► client (--url) | the store in --home
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
    """Add this file's commands."""
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
    named = [pair for given in inputs for pair in _read(given)]
    waiting = [one for _, one in named]
    failures: dict[int, RelevoError] = {}
    results: list[Result | None]
    with connect(url, key, ca) as client, progress(quiet=as_json) as step:
        client.speak(language())
        try:
            results = [
                *client.predict_many(model, waiting, progress=lambda done: step(done, len(waiting), "asking"), subject=subject)
            ]
        except RelevoError as error:
            if not error.failures:
                raise
            results, failures = error.results, error.failures
    _show(results, failures, [name for name, _ in named], as_json=as_json)
    if failures:
        raise typer.Exit(1)


def _show(results: list[Result | None], failures: dict[int, RelevoError], names: list[str], *, as_json: bool) -> None:
    """What was answered on standard output, and by name what was not on standard error."""
    if as_json:
        show_json([_told(one, failures.get(place), names[place]) for place, one in enumerate(results)])
    elif len(failures) < len(results) or not results:
        rows = [
            (
                *((names[place],) if failures else ()),
                one.prediction,
                _percent(one.confidence),
                translate("uncertain") if one.uncertain else "",
                f"{one.model} {one.version}",
                one.query_id,
            )
            for place, one in enumerate(results)
            if one is not None
        ]
        heads = ("prediction", "confidence", "", "model", "query_id")
        show_table(("input", *heads) if failures else heads, rows, empty="Nothing was asked.")
    for place, error in failures.items():
        show_error(error, names[place] if len(names) > 1 else "")
    left = sum(one is None for one in results) - len(failures)
    if left:
        warn(f"{left} further inputs were not asked.")
    for warning in dict.fromkeys(text for one in results if one is not None for text in one.warnings):
        warn(warning)


def _read(given: str) -> list[tuple[str, Any]]:
    """The inputs of one argument, each with the name that errors call it by."""
    if given == "-" or given.lstrip().startswith(("{", "[")):
        records = _records(_typed() if given == "-" else given)
        return [(f"[{place}]", one) for place, one in enumerate(records)]
    path = Path(given)
    try:
        refuse_unless_plain(path)
        if path.suffix != ".json":
            return [(given, path)]
        return [(f"{given}[{place}]", one) for place, one in enumerate(_records(read_plain_text(path)))]
    except FileNotFoundError:
        raise MissingInputError.told(f"There is no file '{given}'.") from None
    except (OSError, UnicodeDecodeError) as cause:
        raise MissingInputError.told(f"'{given}' cannot be read: {getattr(cause, 'strerror', None) or cause}.") from cause


def _typed() -> str:
    try:
        return sys.stdin.read(MOST)
    except UnicodeDecodeError as cause:
        raise InvalidJsonError(reason="it is not UTF-8") from cause


def _records(text: str) -> list[Any]:
    try:
        found = json.loads(text)
    except ValueError as cause:
        raise InvalidJsonError(reason=str(cause)) from cause
    except RecursionError as cause:
        raise InvalidJsonError(reason="it is nested too deeply") from cause
    records = found if isinstance(found, list) else [found]
    if not all(isinstance(one, dict) for one in records):
        raise InvalidJsonError(reason="a record must be an object of named fields")
    return records


def _told(result: Result | None, error: RelevoError | None, name: str) -> Any:
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
    asked_by: Annotated[
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

    place = source(home, url, key, ca)
    if query_id is not None:
        show_json(place.get(query_id))
        return
    wanted = {
        "model": model,
        "version": version,
        "label": prediction,
        "uncertain": uncertain,
        "truth": truth,
        "labelled": labelled,
        "asked_by": asked_by,
        "since": _moment("--since", since),
        "until": _moment("--until", until),
    }
    items, next_cursor = place.page(
        limit=limit, cursor=cursor, filters={name: value for name, value in wanted.items() if value is not None}
    )
    if as_json:
        show_json({"items": items, "next_cursor": next_cursor})
        return
    rows = [cells(one) for one in items]
    show_table(
        HEADS,
        rows,
        empty="No prediction matches." if any(value is not None for value in wanted.values()) else "No predictions yet.",
    )
    if next_cursor:
        say(f"More: --cursor {next_cursor}")


def _moment(flag: str, text: str | None) -> datetime | None:
    try:
        return None if text is None else aware(text, None)
    except ValueError:
        raise typer.BadParameter("this is no time; write it as 2026-01-31 or 2026-01-31T12:00+01:00", param_hint=flag) from None
