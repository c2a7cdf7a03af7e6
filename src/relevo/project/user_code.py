"""The user's own code runs in here: what it raises is told as its own, and Ctrl-C ends it for good.

with users_code(folder): train(run)
    an exception ─► its trace from the user's first line on, then TrainingError | MissingDependencyError
    Ctrl-C       ─► KeyboardInterrupt, also when a framework has taken the first one for "stop fitting here"
"""

from __future__ import annotations

import inspect
import signal
import sys
import threading
import traceback
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from relevo.errors import ConfigError, MissingDependencyError, RelevoError, TrainingError
from relevo.util.stop_flag import StopFlag

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Modules that projects train with, and the extra that brings them.
_EXTRAS = {
    "keras": "keras",
    "lightgbm": "lightgbm",
    "sklearn": "sklearn",
    "tensorflow": "keras",
    "torch": "torch",
    "xgboost": "xgboost",
}


def refuse_other_arguments(function: Callable[..., object], wanted: str, file: str) -> None:
    """A function that cannot be called as `wanted`, such as "train(run)". Raises ConfigError."""
    names = [one for one in wanted.partition("(")[2].removesuffix(")").split(", ") if one]
    try:
        inspect.signature(function).bind(*names)
    except TypeError as cause:
        raise ConfigError(reason=f"{file} must have a function that is called as {wanted}, with no other argument") from cause
    except ValueError:
        # A function of C tells no arguments.
        return


@contextmanager
def users_code(folder: Path) -> Iterator[None]:
    """Around a call into the project in this folder. Raises TrainingError, MissingDependencyError, KeyboardInterrupt."""
    try:
        with _interrupt_is_final():
            yield
    except RelevoError:
        raise
    except Exception as cause:
        extra = _EXTRAS.get((cause.name or "").partition(".")[0]) if isinstance(cause, ModuleNotFoundError) else None
        if extra is not None:
            raise MissingDependencyError(extra=extra) from cause
        raise TrainingError(reason=_told(cause, folder)) from cause


def _told(cause: Exception, folder: Path) -> str:
    """What went wrong and on which of the user's lines; the trace below that line goes to standard error."""
    frames = traceback.extract_tb(cause.__traceback__)
    own = [index for index, frame in enumerate(frames) if _is_in(frame.filename, folder)]
    words = f"{type(cause).__name__}: {cause}".rstrip(": ")
    if not own:
        return words
    sys.stderr.write("".join(traceback.format_list(frames[own[0] :])))
    last = frames[own[-1]]
    return f"{words} ({Path(last.filename).name}, line {last.lineno})"


def _is_in(file: str, folder: Path) -> bool:
    # Python's own modules may be called <frozen …>, which is no path.
    return not file.startswith("<") and folder.resolve() in Path(file).resolve().parents


@contextmanager
def _interrupt_is_final() -> Iterator[None]:
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    seen = StopFlag()

    def handler(number: int, frame: Any) -> None:
        seen.set()
        # Whoever stopped it knows; scikit-learn would remark on it in the middle of the bars.
        warnings.filterwarnings("ignore", message="Training interrupted by user")
        before(number, frame)

    signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        # scikit-learn's networks, for one, catch the interrupt and give back a half-trained model.
        if seen.is_set():
            raise KeyboardInterrupt
