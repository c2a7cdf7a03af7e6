"""All groups as one program, and the one place where a failure becomes a sentence and an exit code."""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
import typer.main

import relevo
from relevo.cli.commands.audit import register as register_audit
from relevo.cli.commands.console import register as register_console
from relevo.cli.commands.doctor import register as register_doctor
from relevo.cli.commands.erase import register as register_erase
from relevo.cli.commands.health import register as register_health
from relevo.cli.commands.import_model import register as register_import
from relevo.cli.commands.keys import register as register_keys
from relevo.cli.commands.labels import register as register_labels
from relevo.cli.commands.models import register as register_models
from relevo.cli.commands.packages import register as register_packages
from relevo.cli.commands.predictions import register as register_predictions
from relevo.cli.commands.projects import register as register_projects
from relevo.cli.commands.serve import register as register_serve
from relevo.cli.commands.users import register as register_users
from relevo.cli.help import WRONG_USAGE, translated, usage
from relevo.cli.options import PROJECT_FILE
from relevo.cli.output import show_error
from relevo.cli.stdio import StdoutError, discard_stdout, repair_streams
from relevo.cli.translate import detect_language, phrase, process_user, set_language
from relevo.errors import DatabaseFullError, MissingInputError, OriginError, PromotionRefusedError, RelevoError
from relevo.util.files import NO_ROOM
from relevo.util.terminal import escape_control

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: The disk has no room, or no more of it for this user.
_FAILED = 1
_MISUSED = 2
_INTERRUPTED = 130
_TERMINATED = 143

app = typer.Typer(
    name="relevo",
    help="From a trained model to recorded predictions: package, serve, record, label.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for register_commands in (
    register_serve,
    register_console,
    register_projects,
    register_import,
    register_packages,
    register_models,
    register_predictions,
    register_labels,
    register_users,
    register_keys,
    register_doctor,
    register_health,
    register_audit,
    register_erase,
):
    register_commands(app)


#: What a person knows standard output as.
_SHOWN_AT = "/dev/stdout"


def _show_version(asked: bool) -> None:  # noqa: FBT001 - Typer calls it by position
    if asked:
        typer.echo(f"relevo {relevo.__version__}")
        raise typer.Exit


@app.callback()
def _relevo(
    *,
    version: Annotated[
        bool, typer.Option("--version", help="Show the release and end.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """From a trained model to recorded predictions: package, serve, record, label."""


def run(arguments: Sequence[str]) -> int:
    """Run one command. Returns its exit code: 0 done, 1 refused or failed, 2 wrong usage, 130 interrupted, 143 told to end."""
    repair_streams()
    set_language(detect_language(os.environ, PROJECT_FILE))
    with _signals() as interrupted:
        return _run(arguments, interrupted)


@contextmanager
def _signals() -> Iterator[threading.Event]:
    """Notice Ctrl-C; let SIGTERM end a command as an exception does, so that what is half-made is cleared away."""
    seen = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield seen
        return

    def interrupt(_number: int, _frame: object) -> NoReturn:
        seen.set()
        raise KeyboardInterrupt

    def terminate(_number: int, _frame: object) -> NoReturn:
        raise SystemExit(_TERMINATED)

    before = {number: signal.signal(number, act) for number, act in ((signal.SIGINT, interrupt), (signal.SIGTERM, terminate))}
    try:
        yield seen
    finally:
        for number, act in before.items():
            signal.signal(number, act)


def _run(arguments: Sequence[str], interrupted: threading.Event) -> int:
    try:
        ended = _program().main(list(arguments), prog_name="relevo", standalone_mode=False)
        sys.stdout.flush()
    except (BrokenPipeError, StdoutError) as cause:
        discard_stdout()
        ended = _unheard(cause)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except typer.Abort:
        # A question was left unanswered.
        return _INTERRUPTED if interrupted.is_set() else _FAILED
    except WRONG_USAGE as error:
        sys.stderr.write(escape_control(usage(error), keep="\n") + "\n")
        return _MISUSED
    except Exception as error:  # noqa: BLE001 - whatever it is, a person gets a sentence
        # What is interrupted may fail in its own way, an import of a library half-way for one.
        return _INTERRUPTED if interrupted.is_set() else _say(error)
    # A command that ends by itself says with what code; the others have done what was asked.
    return ended if isinstance(ended, int) else 0


def _program() -> Any:
    return translated(typer.main.get_command(app))


def _unheard(cause: OSError) -> int:
    # A reader (head, less) that has gone has seen enough.
    return (
        0
        if isinstance(cause, BrokenPipeError)
        else _say(MissingInputError.told(f"'{_SHOWN_AT}' cannot be written: {cause.strerror}."))
    )


def _say(error: Exception) -> int:
    if isinstance(error, OSError) and error.errno in NO_ROOM:
        error = DatabaseFullError()
    elif isinstance(error, PermissionError) and error.filename is not None:
        who = process_user()
        error = OriginError(reason=f"the user {who} may not use '{error.filename}'; run it as its owner, or change its rights")
    if isinstance(error, PromotionRefusedError):
        from relevo.cli.package_summary import show_takeover

        show_takeover(error)
    show_error(error if isinstance(error, RelevoError) else RelevoError.told(_unforeseen(error)))
    return _FAILED


def _unforeseen(error: Exception) -> str:
    if os.environ.get("RELEVO_LOG_LEVEL") == "debug":
        traceback.print_exc()
    place = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{Path(place.filename).name}:{place.lineno}"
    return phrase(
        "Something failed inside Relevo: {what} at {where}. Set RELEVO_LOG_LEVEL=debug to see where it came from.",
        what=type(error).__name__,
        where=where,
    )
