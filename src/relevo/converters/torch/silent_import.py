"""PyTorch, loaded only where it is needed, and without what it tells its own developers.

library() ─ standard error aside ─► torch | MissingDependencyError
"""

from __future__ import annotations

import logging
import time
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from relevo.converters.keras.silent_import import silence_stderr
from relevo.converters.limits import give_back
from relevo.errors import MissingDependencyError

if TYPE_CHECKING:
    from collections.abc import Iterator


def is_torch(model: Any) -> bool:
    """Whether it is a PyTorch module or an exported program; nothing is imported to see it."""
    homes = {kind.__module__.partition(".")[0] for kind in type(model).__mro__}
    return "torch" in homes and (hasattr(model, "state_dict") and (hasattr(model, "forward") or hasattr(model, "graph_module")))


def library() -> Any:
    """Import torch, silently. Raises MissingDependencyError."""
    began = time.process_time()
    try:
        with silence_stderr():
            import onnxscript  # noqa: F401 - an extra, large
            import torch
    except ImportError as cause:
        raise MissingDependencyError(extra="torch") from cause
    give_back(time.process_time() - began)
    return torch


@contextmanager
def silence() -> Iterator[None]:
    """What torch tells its own developers is not told to ours."""
    logger = logging.getLogger("torch")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), silence_stderr():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)
