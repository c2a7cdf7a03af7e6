"""The process in which a stranger's file is opened: walls first, then the file, then bytes and arrays back.

A script; only the child of other times imports it, which stands behind the same walls.

    python -I child.py SOURCE MEMORY CPU FILE NEED WALLS THREADS DATA LOADING   (standard input: one Task; output: a pipe)

    limits ─ privileges ─ Landlock ─ seccomp ─ probe ─► Walls ─► pipe
    Task ─ pickle | ONNX ─ convert ─ answer the samples ─► Opened | Stopped ─► pipe

Until the file is opened this is our own code; from then on whatever comes out of the pipe is the file's. The parent treats it so.
"""

from __future__ import annotations

import os
import sys
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from relevo.importing.sandbox.linux.self_test import Level


def main() -> None:
    """Build the walls, say how strong they are, and open the file only behind them."""
    source, memory, cpu, file_bytes, need, walls = sys.argv[1:7]
    sys.path.insert(0, source)
    out, task = private_pipes()
    threads, data, loading = (int(number) for number in sys.argv[7:10])
    level, unheld = enter_sandbox(
        source, int(memory), int(cpu), int(file_bytes), walls.split(","), threads=threads, data=data, loading=loading
    )
    # Not before the walls stand: these load libraries.
    from relevo.importing.sandbox import protocol
    from relevo.importing.sandbox.convert import run_request

    out.write(protocol.pack(protocol.SandboxStatus(level=level, unheld=unheld)))
    out.flush()
    if need == "strong" and level != "strong":
        return
    out.write(run_request(task))
    out.flush()


def private_pipes() -> tuple[IO[bytes], IO[bytes]]:
    """The two ends kept for us; what libraries print goes nowhere."""
    out, task = os.fdopen(os.dup(1), "wb"), os.fdopen(os.dup(0), "rb")
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nothing, number)
    os.close(nothing)
    return out, task


def enter_sandbox(
    source: str, memory: int, cpu: int, file_bytes: int, walls: list[str], *, threads: int = 0, data: int = 0, loading: int = 0
) -> tuple[Level, tuple[str, ...]]:
    """Shut this process in; how strong it is then, and what it could still do. source: a folder that stays readable.

    threads: how many it may start, for a library that cannot do without. data: bytes it may write to, 0 for all of its memory.
    loading: seconds of processor time that loading a library may take beside.
    """
    from relevo.importing.sandbox.linux import (
        allowed_paths,
        landlock,
        rlimits,
        seccomp,
        self_test,
    )
    from relevo.importing.sandbox.linux.syscall import MACHINE

    folder = os.getcwd()  # noqa: PTH109 - no pathlib in the child
    libraries = allowed_paths.libraries(source)
    rlimits.set_limits(
        memory_bytes=memory, data_bytes=data or memory, cpu_seconds=cpu, loading_seconds=loading, file_bytes=file_bytes
    )
    rlimits.drop_privileges(MACHINE, folder, libraries)
    if "landlock" in walls:
        # TensorFlow asks how it was called before it starts a thread, and ends when it is not told.
        own = [allowed_paths.proc_cmdline_path()] if threads else []
        landlock.restrict(readable=[*libraries, *allowed_paths.SYSTEM, *own], writable=[folder], devices=allowed_paths.DEVICES)
    if "seccomp" in walls:
        seccomp.install(threads=threads > 0)
    unheld = self_test.probe(folder)
    rlimits.allow_no_processes(threads=threads)
    return self_test.level(unheld), unheld


if __name__ == "__main__":
    main()
