"""Runs the user's code: reports its exceptions as the user's own, and makes Ctrl-C final.

with run_user_code(folder): train(run)
    exception ─► traceback from the user's first line, then TrainingError | MissingDependencyError
    Ctrl-C    ─► KeyboardInterrupt, even when a framework handled the first one as "stop fitting"
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

#: Modules that projects import for training, and the extra that installs them.
_EXTRAS = {
    "keras": "keras",
    "lightgbm": "lightgbm",
    "sklearn": "sklearn",
    "tensorflow": "keras",
    "torch": "torch",
    "xgboost": "xgboost",
}


def check_signature(function: Callable[..., object], signature: str, file: str) -> None:
    """Check that the function can be called as `signature`, such as "train(run)". Raises ConfigError."""
    names = [name for name in signature.partition("(")[2].removesuffix(")").split(", ") if name]
    try:
        inspect.signature(function).bind(*names)
    except TypeError as cause:
        raise ConfigError(reason=f"{file} must have a function that is called as {signature}, with no other argument") from cause
    except ValueError:
        # A C function has no signature.
        return


@contextmanager
def run_user_code(folder: Path) -> Iterator[None]:
    """Wrap a call into the project in this folder. Raises TrainingError, MissingDependencyError, KeyboardInterrupt."""
    try:
        with _final_interrupt():
            yield
    except RelevoError:
        raise
    except Exception as cause:
        extra = _EXTRAS.get((cause.name or "").partition(".")[0]) if isinstance(cause, ModuleNotFoundError) else None
        if extra is not None:
            raise MissingDependencyError(extra=extra) from cause
        raise TrainingError(reason=_describe_error(cause, folder)) from cause


def _describe_error(cause: Exception, folder: Path) -> str:
    """Describe the error and the user's line; the traceback below that line goes to standard error."""
    frames = traceback.extract_tb(cause.__traceback__)
    user_frames = [index for index, frame in enumerate(frames) if _is_in(frame.filename, folder)]
    message = f"{type(cause).__name__}: {cause}".rstrip(": ")
    if not user_frames:
        return message
    sys.stderr.write("".join(traceback.format_list(frames[user_frames[0] :])))
    last = frames[user_frames[-1]]
    return f"{message} ({Path(last.filename).name}, line {last.lineno})"


def _is_in(file: str, folder: Path) -> bool:
    # Python's own modules may be named <frozen …>, which is not a path.
    return not file.startswith("<") and folder.resolve() in Path(file).resolve().parents


@contextmanager
def _final_interrupt() -> Iterator[None]:
    previous_handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(previous_handler):
        yield
        return
    interrupted = StopFlag()

    def handler(number: int, frame: Any) -> None:
        interrupted.set()
        # scikit-learn's warning would print in the middle of the progress bars.
        warnings.filterwarnings("ignore", message="Training interrupted by user")
        previous_handler(number, frame)

    signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous_handler)
        # scikit-learn's networks, for example, catch the interrupt and return a half-trained model.
        if interrupted.is_set():
            raise KeyboardInterrupt
