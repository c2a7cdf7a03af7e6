"""Imports PyTorch only when it is needed, and without the messages for its own developers.

library() ─ standard error redirected ─► torch | MissingDependencyError
"""

from __future__ import annotations

import logging
import time
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from relevo.converters.keras.silent_import import silence_stderr
from relevo.converters.limits import extend_cpu_limit
from relevo.errors import MissingDependencyError

if TYPE_CHECKING:
    from collections.abc import Iterator


def is_torch(model: Any) -> bool:
    """Whether the object is a PyTorch module or an exported program; imports nothing."""
    packages = {kind.__module__.partition(".")[0] for kind in type(model).__mro__}
    return "torch" in packages and (hasattr(model, "state_dict") and (hasattr(model, "forward") or hasattr(model, "graph_module")))


def library() -> Any:
    """Imports torch silently. Raises MissingDependencyError."""
    started = time.process_time()
    try:
        with silence_stderr():
            import onnxscript  # noqa: F401 - torch.onnx needs it
            import torch
    except ImportError as cause:
        raise MissingDependencyError(extra="torch") from cause
    extend_cpu_limit(time.process_time() - started)
    return torch


@contextmanager
def silence() -> Iterator[None]:
    """Suppresses torch's log messages and warnings."""
    logger = logging.getLogger("torch")
    previous = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), silence_stderr():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(previous)
