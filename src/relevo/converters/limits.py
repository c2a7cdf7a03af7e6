"""Resource limits of the conversion of a file: memory, processor time, wall time, output."""

from __future__ import annotations

import math
import resource
from contextlib import suppress
from dataclasses import dataclass, replace

#: Copies of a file's weights in memory at once: as read, as the library's own, in the ONNX graph, and in the result.
_WEIGHT_COPIES = 4
#: MiB of a file for each additional second of processor time, on a busy machine.
_MIB_PER_SECOND = 2
#: Additional seconds for each MiB of samples: the original predicts all of them.
_SECONDS_PER_SAMPLE_MIB = 2
#: Processor time after the library is loaded: of a file below SMALL_BYTES, of a replay of its samples, and of any other file.
#: Measured: a small Keras file takes 3 s, the smallest MobileNet 8 s.
SMALL_BYTES = 10 * 2**20
_SMALL_SECONDS, _REPLAY_SECONDS, _LARGE_SECONDS = 18, 5, 300
#: MiB of writable memory (RLIMIT_DATA): for the libraries with their threads, and for each MiB of the file.
_DATA_MB, _DATA_PER_FILE_MIB = 1536, 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Resource limits of the sandboxed process, on top of what the file's own size needs; generous for honest models."""

    #: Address space, of which libraries reserve far more than they use; never more than the machine has available.
    memory_mb: int = 6144
    #: Writable part of it; unless the user sets a number, each MiB of a file adds 16.
    data_mb: int = _DATA_MB
    #: Processor time after the libraries are loaded; unless the user sets a number, a large file gets more and a replay less.
    cpu_seconds: int = _SMALL_SECONDS
    wall_seconds: float = 330.0
    file_bytes: int = 0  # maximum size of any written file
    output_mb: int = 2048
    #: Sandbox layers to enable; tests leave one out to see what a weaker system would report.
    walls: tuple[str, ...] = ("landlock", "seccomp")

    def for_bytes(self, size: int, samples: int = 0, *, replay: bool = False) -> Bounds:
        """Returns the limits for a file of that size: its weights are in memory several times, and take time to read and write.

        samples: bytes of the samples, which take time to predict. replay: only the samples are predicted, nothing is converted.
        """
        file_mib, sample_mib = size // 2**20, samples // 2**20
        seconds = (file_mib + sample_mib) // _MIB_PER_SECOND + _SECONDS_PER_SAMPLE_MIB * sample_mib
        if self.cpu_seconds == _SMALL_SECONDS:
            base_seconds = _LARGE_SECONDS if size >= SMALL_BYTES else _REPLAY_SECONDS if replay else _SMALL_SECONDS
            seconds += base_seconds - _SMALL_SECONDS
        data = self.data_mb + (_DATA_PER_FILE_MIB * (file_mib + sample_mib) if self.data_mb == _DATA_MB else 0)
        return replace(
            self,
            memory_mb=max(self.memory_mb + _WEIGHT_COPIES * (file_mib + sample_mib), data if self.data_mb != _DATA_MB else 0),
            data_mb=data,
            cpu_seconds=self.cpu_seconds + seconds,
            wall_seconds=self.wall_seconds + max(seconds, 0),
        )


def extend_cpu_limit(seconds: float) -> None:
    """Raises the soft CPU limit by the seconds a library took to import, up to the hard limit; does nothing if that fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_CPU)
    if resource.RLIM_INFINITY not in (soft, hard):
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_CPU, (min(soft + math.ceil(seconds), hard), hard))
