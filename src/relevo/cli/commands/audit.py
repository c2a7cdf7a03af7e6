"""`relevo audit`: lists the audit log, verifies it, prints its head, rotates its key; lists rejected sign-ins."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from relevo.cli.options import AsJson, Cursor, Home, Limit, Yes, confirmed, open_home, require_home
from relevo.cli.output import say, show_json, show_list, show_outcome, show_text
from relevo.cli.translate import moment, phrase, translate
from relevo.domain.audit import without_marks
from relevo.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relevo.store.audit.checkpoints import Checkpoint
    from relevo.store.audit.reader import AuditEntry
    from relevo.store.audit.verify import VerificationReport

group = typer.Typer(help="Read and verify the record of every change.", rich_markup_mode=None, no_args_is_help=True)

_DIGEST_LENGTH, _TEXT_LENGTH = 12, 48
_DIGEST = re.compile(r"[0-9a-f]{32,64}")
_USER = re.compile(r"\buser:([0-9a-f]{32})\b")
_HEADS = ("entry", "when", "who", "did", "to", "before", "after", "why")


def register(app: typer.Typer) -> None:
    """Adds the commands of this module."""
    app.add_typer(group, name="audit")


@group.command("list")
def list_(
    *,
    object_: Annotated[
        str | None, typer.Option("--object", help="Only this thing and what lies within it: model:NAME, user:ID.", metavar="THING")
    ] = None,
    actor: Annotated[str | None, typer.Option("--actor", help="Only what they did: cli, user:ID, key:ID.", metavar="WHO")] = None,
    limit: Limit = 20,
    cursor: Cursor = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Who changed what, newest first."""
    store = open_home(home)
    page = store.audit_reader.page(object=object_, actor=actor, limit=limit, cursor=cursor)
    names = {user.id: user.name for user in store.users.iter_all()}
    show_list(
        lambda: _to_json("AuditPageOut", page),
        _HEADS,
        (_row(entry, names) for entry in page.items),
        as_json=as_json,
        empty="Nothing was changed yet.",
        cursor=page.next_cursor,
    )


@group.command("sign-ins")
def sign_ins(
    *,
    limit: Limit = 20,
    cursor: Cursor = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Who tried to sign in and was refused, newest first; alike ones of an hour stand together."""
    page = open_home(home).users.attempts.page(limit=limit, cursor=cursor)
    rows = (
        (
            moment(attempt.last, seconds=True),
            attempt.name or f"? {attempt.mark[:_DIGEST_LENGTH]}",
            attempt.address,
            translate(attempt.reason),
            attempt.tries,
        )
        for attempt in page.items
    )
    heads = ("last", "name", "address", "reason", "tries")
    show_list(
        lambda: _to_json("LoginAttemptPage", page),
        heads,
        rows,
        as_json=as_json,
        empty="Nobody was refused.",
        cursor=page.next_cursor,
    )


@group.command("head")
def head(*, home: Home = None, as_json: AsJson = False) -> None:
    """The end of the record, to be kept elsewhere: `relevo audit verify --head` holds the record against it."""
    last_entry = open_home(home).audit_reader.last_entry()
    sequence, mac = (last_entry.sequence, last_entry.mac) if last_entry else (0, "")
    show_outcome({"sequence": sequence, "mac": mac}, f"{sequence}:{mac}", as_json=as_json)


@group.command("verify")
def verify(
    *,
    kept: Annotated[
        list[str] | None, typer.Option("--head", help="What `relevo audit head` once said; may be repeated.", metavar="HEAD")
    ] = None,
    heads: Annotated[
        Path | None, typer.Option("--heads", help="A copy of the file of heads that was kept elsewhere.", metavar="FILE")
    ] = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Check that nothing in the record was changed, removed, exchanged or cut off, and that users, keys and aliases are as it says.

    Exit code 1 when something was.
    """
    report = _report(home, kept or [], heads)
    if as_json:
        show_json(report)
    else:
        _show_report(report)
    if not report.is_whole:
        raise typer.Exit(1)


@group.command("rotate-key")
def rotate_key(
    *,
    why: Annotated[str, typer.Option("--reason", help="Kept in the audit; name no person.", metavar="TEXT")] = "",
    yes: Yes = False,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Seal the record with a new key from now on; servers that run take it with their next entry.

    Keep the old one: earlier entries are checked with it. Asks first.
    """
    from relevo.server.admin import rotate_audit_key

    settings = require_home(home)
    confirmed(phrase("Seal the audit in {home} with a new key from now on?", home=settings.home.resolve()), yes=yes)
    rotation = rotate_audit_key(settings, why=why)
    text = f"Sealed with a new key since entry {rotation.entry}. Copy the folder {settings.keys_folder} to where its copy is kept."
    show_outcome(rotation, text, as_json=as_json)


def _row(entry: AuditEntry, names: Mapping[str, str]) -> tuple[object, ...]:
    """One entry as a table row. names: of users, by id."""
    actor, object_name, before, after = (
        _with_user_names(text, names) for text in (entry.actor, entry.object, entry.before, without_marks(entry.after))
    )
    return (
        entry.sequence,
        moment(entry.at, seconds=True),
        actor,
        entry.action,
        object_name,
        _shorten(before),
        _shorten(after),
        entry.reason,
    )


def _with_user_names(text: str, names: Mapping[str, str]) -> str:
    """Replaces `user:5e60…` by `user:ana`; the prefix stays, so that users differ from other names."""
    return _USER.sub(lambda match: f"user:{names.get(match[1], match[1])}", text)


def _shorten(text: str) -> str:
    """Shortens a digest to its prefix, and a long text to the width of the column."""
    if _DIGEST.fullmatch(text):
        return text[:_DIGEST_LENGTH]
    return text if len(text) <= _TEXT_LENGTH else f"{text[: _TEXT_LENGTH - 1]}…"


def _report(home: Path | None, heads: list[str], copy: Path | None) -> VerificationReport:
    from relevo.server.home import had_users
    from relevo.store.audit import checkpoints
    from relevo.store.audit import state as state_module
    from relevo.store.audit import verify as verify_module

    # Read first: opening the store may write the marker file.
    settings = require_home(home)
    had_some = had_users(settings.home)
    store = open_home(home)
    saved = [*checkpoints.load_checkpoints(settings.audit_folder), *map(_parse_head, heads)]
    if copy is not None:
        saved += checkpoints.read_checkpoints(copy)
    state, has_checkpoint = state_module.read_state(store.engine), checkpoints.read_last(settings.audit_folder) is not None
    return verify_module.verify(
        store.audit_reader.entries(), store.audit, saved, state=state, has_file=has_checkpoint, past=had_some
    )


def _show_report(report: VerificationReport) -> None:
    if report.is_whole:
        say(f"The audit is whole: {report.links} entries, held against {report.checkpoints} heads.")
        return
    for fault in report.faults:
        show_text(f"{translate(fault.kind)}: {translate(fault.message)}")
    say(f"The audit is not whole. Faults found: {len(report.faults)}.")


def _parse_head(text: str) -> Checkpoint:
    from relevo.store.audit.checkpoints import Checkpoint

    sequence, separator, mac = text.partition(":")
    if not (separator and sequence.isascii() and sequence.isdigit()):
        raise ConfigError(reason="--head takes what `relevo audit head` said: a number, a colon, a seal")
    return Checkpoint(sequence=int(sequence), mac=mac)


def _to_json(view: str, page: object) -> dict[str, Any]:
    from relevo.web.schemas import audit

    document: dict[str, Any] = getattr(audit, view).from_domain(page).model_dump(mode="json")
    return document
