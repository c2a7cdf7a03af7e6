"""All groups as one program, and the one place where a failure becomes a sentence and an exit code."""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import relevo
from relevo.cli.doctor import add_to as add_doctor
from relevo.cli.importing import add_to as add_importing
from relevo.cli.models import add_to as add_models
from relevo.cli.packages import add_to as add_packages
from relevo.cli.predictions import add_to as add_predictions
from relevo.cli.projects import add_to as add_projects
from relevo.cli.serving import add_to as add_serving
from relevo.errors import RelevoError

if TYPE_CHECKING:
    from collections.abc import Sequence

_FAILED = 1
_INTERRUPTED = 130

app = typer.Typer(
    name="relevo",
    help="From a trained model to recorded predictions: package, serve, record, label.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for add_to in (add_serving, add_projects, add_importing, add_packages, add_models, add_predictions, add_doctor):
    add_to(app)


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
    """Run one command. Returns its exit code: 0 done, 1 refused or failed, 2 wrong usage, 130 interrupted."""
    try:
        app(list(arguments), prog_name="relevo")
    except RelevoError as error:
        return _say(str(error), error.code)
    except BrokenPipeError:
        # The reader (head, less) has seen enough; Python would complain once more when it closes the stream.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return _INTERRUPTED
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except Exception as error:  # noqa: BLE001 - whatever it is, a person gets a sentence
        return _say(_unforeseen(error), "internal")
    return 0


def _say(sentence: str, code: str) -> int:
    sys.stderr.write(f"error: {sentence} ({code})\n")
    return _FAILED


def _unforeseen(error: Exception) -> str:
    if os.environ.get("RELEVO_LOG_LEVEL") == "debug":
        traceback.print_exc()
    place = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{Path(place.filename).name}:{place.lineno}"
    return (
        f"Something failed inside Relevo: {type(error).__name__} at {where}. Set RELEVO_LOG_LEVEL=debug to see where it came from."
    )
