"""How soon `relevo serve` is ready, what a worker weighs, and what the base install weighs.

    start ─► GET /health/ready every 5 ms ─► 200     time to ready          promised: ≤ 2 s, the digits model loaded and replayed
    after 2,000 predictions ─► RSS of every process  promised: ≤ 160 MiB a worker
    fresh venv ─ pip install the checkout ─► size    promised: ≤ 250 MiB    (with --install: needs a package index)

Usage: coldstart.py [--repeats 5] [--install]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

import httpx
import jobs
from contenders import WORKERS, import_image_model, relevo_server
from measuring import conditions, free_port, rss_mib, running, stop, tree, verdict, wrk
from places import ROOT

_READY_S = 2.0
_WORKER_MIB = 160.0
_INSTALL_MIB = 250.0


def main() -> int:
    """Print all figures; 1 when a promised one was missed."""
    options = argparse.ArgumentParser(description="Cold start and weight.")
    options.add_argument("--repeats", type=int, default=5)
    options.add_argument("--install", action="store_true")
    chosen = options.parse_args()
    print(conditions())
    with tempfile.TemporaryDirectory(prefix="relevo-bench-") as place:
        home = Path(place) / "home"
        import_image_model(jobs.digits(), home)
        spans = [time_to_ready(home) for _ in range(chosen.repeats)]
        heaviest = heaviest_worker(home)
        middle = statistics.median(spans)
        told = f"ready after {middle:.2f} s ({min(spans):.2f}–{max(spans):.2f}; promised: {_READY_S:g})"
        reached = [
            verdict(told, holds=middle <= _READY_S),
            verdict(f"the heaviest process has {heaviest:.0f} MiB (promised: {_WORKER_MIB:g})", holds=heaviest <= _WORKER_MIB),
        ]
        if chosen.install:
            size = installed_mib(Path(place) / "venv")
            reached.append(verdict(f"base install {size:.0f} MiB (promised: {_INSTALL_MIB:g})", holds=size <= _INSTALL_MIB))
    return 0 if all(reached) else 1


def time_to_ready(home: Path) -> float:
    """Seconds from the start of the process to the first 200 of /health/ready. Raises TimeoutError after 30."""
    port = free_port()
    server = relevo_server("relevo", home, "/predict", jobs.digits(count=1).raw())
    begin = time.monotonic()
    process = subprocess.Popen(
        [part.format(port=port) for part in server.command],
        env={**os.environ, **server.environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=2.0) as client:
            while time.monotonic() < begin + 30.0:
                if _is_ready(client):
                    return time.monotonic() - begin
                time.sleep(0.005)
    finally:
        stop(process)
    raise TimeoutError("it was not ready within 30 s")


def _is_ready(client: httpx.Client) -> bool:
    try:
        return client.get("/health/ready").status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def heaviest_worker(home: Path) -> float:
    """MiB of the heaviest process of the tree after some load; the others are printed."""
    server = relevo_server("relevo", home, "/predict", jobs.digits().raw())
    with running(server) as (address, pid):
        wrk(server, address, seconds=2.0, connections=16)
        weights = {process: rss_mib(process) for process in tree(pid)}
        for process, weight in sorted(weights.items(), key=lambda pair: -pair[1]):
            print(f"         {weight:6.1f} MiB  {_command_line(process)[:100]}")
    print(f"         {sum(weights.values()):6.1f} MiB  in sum, {len(weights)} processes, {WORKERS} of them workers")
    return max(weights.values())


def _command_line(process: int) -> str:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return "(ended)"


def installed_mib(folder: Path) -> float:
    """What installing the checkout without extras adds to an empty environment, compiled files included."""
    venv.create(folder, with_pip=True)
    before = size_mib(folder)
    command = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", str(ROOT)]
    subprocess.run(command, check=True)
    return size_mib(folder) - before


def size_mib(folder: Path) -> float:
    """Sum of the files' sizes; no link is followed. Blocks of 4 KiB on a disk add some six per cent."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink()) / 2**20


if __name__ == "__main__":
    sys.exit(main())
