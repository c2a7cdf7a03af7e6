"""`relevo predict` and `relevo history`: ask a server, look back.

predict ─► asked_server ─► server            history ─► client (--url) | the store in --home
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from relevo.cli.asking import AsJson, Ca, Home, Key, Url, asked_server
from relevo.cli.showing import progress, say, show_json, show_table
from relevo.cli.speaking import language, percent, said
from relevo.errors import BadJson, NoInput
from relevo.plain_files import MOST, read_plain_text, refuse_unless_plain

if TYPE_CHECKING:
    from relevo.client import Result

Model = Annotated[
    str | None, typer.Option("--model", "-m", help="Name of the model; the server's default when left out.", metavar="NAME")
]


def add_to(app: typer.Typer) -> None:
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

    Without --url it is the server of this folder's settings.
    """
    waiting = [one for given in inputs for one in _read(given)]
    with asked_server(url, key, ca) as client, progress(quiet=as_json) as step:
        client.speak(language())
        results = client.predict_many(model, waiting, progress=lambda done: step(done, len(waiting), "asking"), subject=subject)
    if as_json:
        show_json([_told(one) for one in results])
        return
    rows = [
        (
            one.prediction,
            _percent(one.confidence),
            said("uncertain") if one.uncertain else "",
            f"{one.model} {one.version}",
            one.query_id,
        )
        for one in results
    ]
    show_table(("prediction", "confidence", "", "model", "query_id"), rows, empty="Nothing was asked.")


def _read(given: str) -> list[Any]:
    if given == "-":
        return _records(_typed())
    if given.lstrip().startswith(("{", "[")):
        return _records(given)
    path = Path(given)
    try:
        refuse_unless_plain(path)
        return _records(read_plain_text(path)) if path.suffix == ".json" else [path]
    except FileNotFoundError:
        raise NoInput.told(f"There is no file '{given}'.") from None
    except (OSError, UnicodeDecodeError) as cause:
        raise NoInput.told(f"'{given}' cannot be read: {getattr(cause, 'strerror', None) or cause}.") from cause


def _typed() -> str:
    try:
        return sys.stdin.read(MOST)
    except UnicodeDecodeError as cause:
        raise BadJson(reason="it is not UTF-8") from cause


def _records(text: str) -> list[Any]:
    try:
        found = json.loads(text)
    except ValueError as cause:
        raise BadJson(reason=str(cause)) from cause
    except RecursionError as cause:
        raise BadJson(reason="it is nested too deeply") from cause
    records = found if isinstance(found, list) else [found]
    if not all(isinstance(one, dict) for one in records):
        raise BadJson(reason="a record must be an object of named fields")
    return records


def _told(result: Result) -> Any:  # noqa: ANN401 - JSON
    import msgspec

    return msgspec.to_builtins(result)


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
    since: Annotated[
        str | None,
        typer.Option(
            help="Only from this time on, as 2026-01-31 or 2026-01-31T12:00+01:00; UTC without an offset.", metavar="TIME"
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
    from relevo.cli.recorded import HEADS, cells, source

    place = source(home, url, key, ca)
    if query_id is not None:
        show_json(place.one(query_id))
        return
    wanted = {
        "model": model,
        "version": version,
        "label": prediction,
        "uncertain": uncertain,
        "truth": truth,
        "labelled": labelled,
        "since": _moment("--since", since),
        "until": _moment("--until", until),
    }
    items, next_cursor = place.page(
        limit=limit, cursor=cursor, wanted={name: value for name, value in wanted.items() if value is not None}
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
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter("this is no time as 2026-01-31 or 2026-01-31T12:00+01:00", param_hint=flag) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
