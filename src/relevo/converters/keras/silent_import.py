"""TensorFlow, Keras and tf2onnx, loaded without what they print: their first words go past every setting to standard error.

library("keras") ─ standard error aside ─► the module | MissingDependencyError
"""

from __future__ import annotations

import logging
import os
import sys
import time
from contextlib import contextmanager, suppress
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from relevo.converters.limits import give_back
from relevo.errors import MissingDependencyError

if TYPE_CHECKING:
    from collections.abc import Iterator

_HOMES = ("keras", "tf_keras", "tensorflow.python.keras", "tensorflow.keras")
_SPEAKERS = ("tensorflow", "absl", "tf2onnx", "h5py")


def is_keras(model: Any) -> bool:
    """Whether it is a Keras model, one of the user's own classes included; nothing is imported to see it."""
    homes = {home for kind in type(model).__mro__ for home in _HOMES if f"{kind.__module__}.".startswith(f"{home}.")}
    return bool(homes) and hasattr(model, "predict") and hasattr(model, "layers")


def library(name: str) -> Any:
    """Import `tensorflow`, `keras` or `tf2onnx`, silently. Raises MissingDependencyError."""
    found = sys.modules.get(name)
    if found is not None:
        return found
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # On some processors it is off, and then a convolution with the channels first cannot be asked at all.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    began = time.process_time()
    try:
        with silence_stderr():
            found = import_module(name)
    except ImportError as cause:
        raise MissingDependencyError(extra="keras") from cause
    give_back(time.process_time() - began)
    for speaker in _SPEAKERS:
        logging.getLogger(speaker).setLevel(logging.CRITICAL)
    return found


def leave_out(*names: str) -> None:
    """Tell Keras that these are not installed: it would load them for what is not needed here. Only where nobody else is."""
    for name in names:
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # None is how Python marks what must not be found


def library_if_there(name: str) -> None:
    """Import it silently where it is installed, for others who will import it loudly."""
    if find_spec(name) is not None:
        with suppress(MissingDependencyError):
            library(name)


@contextmanager
def silence_stderr() -> Iterator[None]:
    """What compiled code writes to standard error goes nowhere meanwhile; Python's own errors are raised as ever."""
    sys.stderr.flush()
    try:
        kept = os.dup(2)
    except OSError:  # no standard error at all: nothing to keep quiet
        yield
        return
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)
