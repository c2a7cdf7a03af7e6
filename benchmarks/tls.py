"""What encryption costs the digits job: the same server plain and with --tls auto, in turn; on kept connections and on new ones.

compose.start_server ─┬─ plain ─┐
                      └─ tls ───┴─► wrk on kept connections ─► rate, p99;  one caller, a new connection each ─► ms a request

Usage: tls.py [--seconds 8] [--rounds 5] [--connections 32]
"""

from __future__ import annotations

import argparse
import ssl
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import jobs
from contenders import import_image_model, relevo_server
from measuring import Contender, conditions, interleaved, ratio, rss_mib, table, tree, wrk

import relevo.server
from relevo.config import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from measuring import Load

_NEW_CALLERS = 300
_WARM_UP_S = 2.0


def one_round(contender: Contender, settings: Settings, chosen: argparse.Namespace, waits: dict[str, list[float]]) -> Load:
    """Start, warm up, measure, weigh, stop."""
    server = relevo.server.start_server(settings)
    try:
        server.wait_ready(60.0)
        wrk(contender, server.url, seconds=_WARM_UP_S, connections=chosen.connections)
        load = wrk(contender, server.url, seconds=chosen.seconds, connections=chosen.connections)
        waits.setdefault(contender.name, []).append(_new_callers(contender, server.url, settings))
        return replace(load, rss=sum(map(rss_mib, tree(server.pid))))
    finally:
        server.stop()


def _new_callers(contender: Contender, url: str, settings: Settings) -> float:
    """Median milliseconds of a request on a connection of its own, one caller."""
    cert = relevo.server.certificate_path(settings)
    verify = ssl.create_default_context(cafile=cert) if settings.encrypted else ssl.create_default_context()
    body = contender.bodies.bodies[0]
    waits = []
    for _ in range(_NEW_CALLERS):
        with httpx.Client(verify=verify, trust_env=False) as http:
            begin = time.perf_counter()
            http.post(f"{url}{contender.path}", content=body, headers={"content-type": contender.bodies.kind}).raise_for_status()
            waits.append(time.perf_counter() - begin)
    return statistics.median(waits) * 1e3


def main() -> int:
    """Print Markdown and the ratios."""
    options = argparse.ArgumentParser(description="Encryption.")
    options.add_argument("--seconds", type=float, default=8.0)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--connections", type=int, default=32)
    chosen = options.parse_args()
    job = jobs.digits()
    print(conditions())
    waits: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="relevo-bench-") as place:
        home = Path(place) / "home"
        import_image_model(job, home)
        contenders = {name: relevo_server(name, home, "/predict", job.raw()) for name in ("plain", "tls")}
        parts: dict[str, Callable[[], Load]] = {
            name: partial(
                one_round, one, Settings(home=home, port=0, workers=2, tls="auto" if name == "tls" else "off"), chosen, waits
            )
            for name, one in contenders.items()
        }
        seen = interleaved(parts, chosen.rounds)
    print(table(seen, contenders))
    print(f"tls has {ratio(seen, 'tls', 'plain'):.2f} times the rate of plain on {chosen.connections} kept connections")
    print("new connections, ms a request: " + ", ".join(f"{name} {statistics.median(found):.1f}" for name, found in waits.items()))
    return 0 if all(load.failed == 0 for loads in seen.values() for load in loads) else 1


if __name__ == "__main__":
    sys.exit(main())
