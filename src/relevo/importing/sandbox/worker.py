"""Worker process of the sandbox: isolates itself, then converts one untrusted file and returns bytes and arrays.

A script; only the legacy worker imports it, for the same isolation.

    python -I worker.py SOURCE MEMORY CPU FILE NEED LAYERS THREADS DATA LOADING   (stdin: one ConversionOptions frame; stdout: a pipe)

    rlimits ─ privileges ─ Landlock ─ seccomp ─ self-test ─► SandboxStatus ─► pipe
    request ─ pickle | ONNX | … ─ convert ─ predict the samples ─► ConvertedMessage | FailureMessage ─► pipe

Until the file is opened only Relevo's code runs; afterwards the file may control everything written to the pipe, and the parent
treats it as untrusted.
"""

from __future__ import annotations

import os
import sys
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from relevo.importing.sandbox.linux.self_test import IsolationLevel


def main() -> None:
    """Enter the sandbox, report the isolation level, and open the file only afterwards."""
    source, memory, cpu, file_bytes, need, layers = sys.argv[1:7]
    sys.path.insert(0, source)
    out, request = private_pipes()
    threads, data, loading = (int(number) for number in sys.argv[7:10])
    level, failed_checks = enter_sandbox(
        source, int(memory), int(cpu), int(file_bytes), layers.split(","), threads=threads, data=data, loading=loading
    )
    # Only inside the sandbox: these imports load libraries.
    from relevo.importing.sandbox import protocol
    from relevo.importing.sandbox.convert import run_request

    out.write(protocol.pack(protocol.SandboxStatus(level=level, failed_checks=failed_checks)))
    out.flush()
    if need == "strong" and level != "strong":
        return
    out.write(run_request(request))
    out.flush()


def private_pipes() -> tuple[IO[bytes], IO[bytes]]:
    """Duplicate the output and the request descriptor; the standard streams then lead to /dev/null, also for library output."""
    out, request = os.fdopen(os.dup(1), "wb"), os.fdopen(os.dup(0), "rb")
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.close(null)
    return out, request


def enter_sandbox(
    source: str, memory: int, cpu: int, file_bytes: int, layers: list[str], *, threads: int = 0, data: int = 0, loading: int = 0
) -> tuple[IsolationLevel, tuple[str, ...]]:
    """Isolate this process. Returns the isolation level and the failed checks. source: a folder that stays readable.

    threads: how many threads it may start, for a library that needs some. data: limit of writable memory in bytes, 0 for `memory`.
    loading: extra seconds of processor time for loading a library.
    """
    from relevo.importing.sandbox.linux import (
        allowed_paths,
        landlock,
        rlimits,
        seccomp,
        self_test,
    )
    from relevo.importing.sandbox.linux.syscall import MACHINE

    folder = os.getcwd()  # noqa: PTH109 - no pathlib in the worker
    libraries = allowed_paths.libraries(source)
    rlimits.set_limits(
        memory_bytes=memory, data_bytes=data or memory, cpu_seconds=cpu, loading_seconds=loading, file_bytes=file_bytes
    )
    rlimits.drop_privileges(MACHINE, folder, libraries)
    if "landlock" in layers:
        # TensorFlow reads its command line before it starts a thread, and aborts when it cannot.
        cmdline = [allowed_paths.proc_cmdline_path()] if threads else []
        landlock.restrict(readable=[*libraries, *allowed_paths.SYSTEM, *cmdline], writable=[folder], devices=allowed_paths.DEVICES)
    if "seccomp" in layers:
        seccomp.install(threads=threads > 0)
    failed_checks = self_test.run_self_test(folder)
    rlimits.limit_processes(threads=threads)
    return self_test.isolation_level(failed_checks), failed_checks


if __name__ == "__main__":
    main()
