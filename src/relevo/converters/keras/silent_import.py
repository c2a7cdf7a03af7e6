"""Imports TensorFlow, Keras and tf2onnx without their log output, part of which ignores every setting and goes to standard error.

library("keras") ─ standard error redirected ─► module | MissingDependencyError
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

from relevo.converters.limits import extend_cpu_limit
from relevo.errors import MissingDependencyError

if TYPE_CHECKING:
    from collections.abc import Iterator

_PACKAGES = ("keras", "tf_keras", "tensorflow.python.keras", "tensorflow.keras")
_LOGGERS = ("tensorflow", "absl", "tf2onnx", "h5py")


def is_keras(model: Any) -> bool:
    """Whether the object is a Keras model, subclassed ones included; imports nothing."""
    packages = {package for kind in type(model).__mro__ for package in _PACKAGES if f"{kind.__module__}.".startswith(f"{package}.")}
    return bool(packages) and hasattr(model, "predict") and hasattr(model, "layers")


def library(name: str) -> Any:
    """Imports `tensorflow`, `keras` or `tf2onnx` silently. Raises MissingDependencyError."""
    module = sys.modules.get(name)
    if module is not None:
        return module
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # Off by default on some processors, where convolutions with channels first then fail.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    started = time.process_time()
    try:
        with silence_stderr():
            module = import_module(name)
    except ImportError as cause:
        raise MissingDependencyError(extra="keras") from cause
    extend_cpu_limit(time.process_time() - started)
    for logger in _LOGGERS:
        logging.getLogger(logger).setLevel(logging.CRITICAL)
    return module


def block_import(*names: str) -> None:
    """Makes these packages look not installed, so that Keras does not import them. Only in a process that needs none of them."""
    for name in names:
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # None makes an import raise ImportError


def try_import(name: str) -> None:
    """Imports the library silently if it is installed, before other code imports it with its output."""
    if find_spec(name) is not None:
        with suppress(MissingDependencyError):
            library(name)


@contextmanager
def silence_stderr() -> Iterator[None]:
    """Discards what compiled code writes to standard error meanwhile; Python exceptions are raised as usual."""
    sys.stderr.flush()
    try:
        saved = os.dup(2)
    except OSError:  # there is no standard error
        yield
        return
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(null)
