"""The Typer application of all commands, and the conversion of errors to messages and exit codes."""

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
from relevo.cli.help import WRONG_USAGE, translate_command, usage_text
from relevo.cli.options import PROJECT_FILE
from relevo.cli.output import show_error
from relevo.cli.stdio import StdoutError, discard_stdout, repair_streams
from relevo.cli.translate import detect_language, phrase, process_user, set_language
from relevo.errors import DatabaseFullError, MissingInputError, OriginError, PromotionRefusedError, RelevoError
from relevo.util.files import NO_ROOM
from relevo.util.stop_flag import StopFlag
from relevo.util.terminal import escape_control

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_EXIT_FAILED = 1
_EXIT_USAGE = 2
_EXIT_INTERRUPTED = 130
_EXIT_TERMINATED = 143

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


#: Name of standard output in messages.
_STDOUT = "/dev/stdout"


def _show_version(requested: bool) -> None:  # noqa: FBT001 - Typer calls it by position
    if requested:
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
    """Runs one command. Returns its exit code: 0 success, 1 error, 2 wrong usage, 130 interrupted, 143 terminated."""
    repair_streams()
    set_language(detect_language(os.environ, PROJECT_FILE))
    with _signals() as interrupted:
        return _run(arguments, interrupted)


@contextmanager
def _signals() -> Iterator[StopFlag]:
    """Records Ctrl-C, and turns SIGTERM into an exception, so that a command removes its partial results."""
    interrupted = StopFlag()
    if threading.current_thread() is not threading.main_thread():
        yield interrupted
        return

    def interrupt(_number: int, _frame: object) -> NoReturn:
        interrupted.set()
        raise KeyboardInterrupt

    def terminate(_number: int, _frame: object) -> NoReturn:
        raise SystemExit(_EXIT_TERMINATED)

    previous = {
        signal_number: signal.signal(signal_number, handler)
        for signal_number, handler in ((signal.SIGINT, interrupt), (signal.SIGTERM, terminate))
    }
    try:
        yield interrupted
    finally:
        for signal_number, handler in previous.items():
            signal.signal(signal_number, handler)


def _run(arguments: Sequence[str], interrupted: StopFlag) -> int:
    try:
        result = _command().main(list(arguments), prog_name="relevo", standalone_mode=False)
        sys.stdout.flush()
    except (BrokenPipeError, StdoutError) as cause:
        discard_stdout()
        result = _stdout_exit_code(cause)
    except KeyboardInterrupt:
        return _EXIT_INTERRUPTED
    except SystemExit as exit_request:
        return exit_request.code if isinstance(exit_request.code, int) else int(exit_request.code is not None)
    except typer.Abort:
        # A confirmation prompt was aborted.
        return _EXIT_INTERRUPTED if interrupted.is_set() else _EXIT_FAILED
    except WRONG_USAGE as error:
        sys.stderr.write(escape_control(usage_text(error), keep="\n") + "\n")
        return _EXIT_USAGE
    except Exception as error:  # noqa: BLE001 - every error becomes a message
        # Ctrl-C may surface as another error, for example inside the import of a library.
        return _EXIT_INTERRUPTED if interrupted.is_set() else _show_failure(error)
    # typer.Exit returns its code here; every other command was successful.
    return result if isinstance(result, int) else 0


def _command() -> Any:
    return translate_command(typer.main.get_command(app))


def _stdout_exit_code(cause: OSError) -> int:
    # A reader that closes the pipe (head, less) is no error.
    return (
        0
        if isinstance(cause, BrokenPipeError)
        else _show_failure(MissingInputError.with_message(f"'{_STDOUT}' cannot be written: {cause.strerror}."))
    )


def _show_failure(error: Exception) -> int:
    if isinstance(error, OSError) and error.errno in NO_ROOM:
        error = DatabaseFullError()
    elif isinstance(error, PermissionError) and error.filename is not None:
        user = process_user()
        error = OriginError(reason=f"the user {user} may not use '{error.filename}'; run it as its owner, or change its rights")
    if isinstance(error, PromotionRefusedError):
        from relevo.cli.package_summary import show_takeover

        show_takeover(error)
    show_error(error if isinstance(error, RelevoError) else RelevoError.with_message(_internal_error_text(error)))
    return _EXIT_FAILED


def _internal_error_text(error: Exception) -> str:
    if os.environ.get("RELEVO_LOG_LEVEL") == "debug":
        traceback.print_exc()
    frame = traceback.extract_tb(error.__traceback__)[-1]
    location = f"{Path(frame.filename).name}:{frame.lineno}"
    return phrase(
        "Something failed inside Relevo: {what} at {where}. Set RELEVO_LOG_LEVEL=debug to see where it came from.",
        what=type(error).__name__,
        where=location,
    )
