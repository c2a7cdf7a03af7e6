"""Resource limits of the conversion of a file: memory, processor time, wall time, output."""

from __future__ import annotations

import math
import resource
from contextlib import suppress
from dataclasses import dataclass, replace

#: How often a file's weights are in memory at once: as read, as the library's own, in the ONNX graph, and as what is sent back.
_TIMES_HELD = 4
#: How many MiB of a file ask for a second more, on a machine that is busy with other things.
_MIB_A_SECOND = 2
#: Seconds that each MiB of samples asks for: the original answers all of them.
_SECONDS_A_MIB = 2
#: Processor time of a file below SMALL once its library is loaded, of a replay of its samples, and of any other file. Measured: a
#: small Keras file takes 3 s, the smallest MobileNet 8 s.
SMALL_BYTES = 10 * 2**20
_SMALL_SECONDS, _REPLAY_SECONDS, _LARGE_SECONDS = 18, 5, 300
#: MiB that may be written to: of libraries with their threads, and for each MiB of the file.
_DATA_MB, _DATA_TIMES = 1536, 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How much a file may use up while it is opened, beside what its own size asks for; generous for honest models."""

    #: Address space, which libraries reserve far beyond what they touch; never more than can be spared where it runs.
    memory_mb: int = 6144
    #: Of it, what may be written to; unless a person says a number, each MiB of a file adds 16.
    data_mb: int = _DATA_MB
    #: Processor time once the libraries are loaded; unless a person says a number, a large file gets more and a replay less.
    cpu_seconds: int = _SMALL_SECONDS
    wall_seconds: float = 330.0
    file_bytes: int = 0  # how far any file may grow
    output_mb: int = 2048
    #: Walls to build; leaving one out is for trying what a weaker system would say.
    walls: tuple[str, ...] = ("landlock", "seccomp")

    def for_bytes(self, size: int, samples: int = 0, *, replay: bool = False) -> Bounds:
        """The same for a file of that size: its weights are held several times over, and take time to be read and written.

        samples: bytes of the samples, which take time to be answered. replay: they are answered, and nothing is converted.
        """
        mib, more = size // 2**20, samples // 2**20
        seconds = (mib + more) // _MIB_A_SECOND + _SECONDS_A_MIB * more
        if self.cpu_seconds == _SMALL_SECONDS:
            usual = _LARGE_SECONDS if size >= SMALL_BYTES else _REPLAY_SECONDS if replay else _SMALL_SECONDS
            seconds += usual - _SMALL_SECONDS
        data = self.data_mb + (_DATA_TIMES * (mib + more) if self.data_mb == _DATA_MB else 0)
        return replace(
            self,
            memory_mb=max(self.memory_mb + _TIMES_HELD * (mib + more), data if self.data_mb != _DATA_MB else 0),
            data_mb=data,
            cpu_seconds=self.cpu_seconds + seconds,
            wall_seconds=self.wall_seconds + max(seconds, 0),
        )


def give_back(seconds: float) -> None:
    """Processor time that a library took to load does not count as the file's, as far as the hard limit lets it; else nothing."""
    soft, hard = resource.getrlimit(resource.RLIMIT_CPU)
    if resource.RLIM_INFINITY not in (soft, hard):
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_CPU, (min(soft + math.ceil(seconds), hard), hard))
