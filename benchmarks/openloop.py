"""Open-loop load: arrival times are drawn beforehand, and latency counts from the time a request *should* have gone.

    Poisson times ─► due ─ a free connection? ─► send ─► answer, checked ─► latency = answered − due
                          └─ none: it waits in line, and its latency grows

So a server that stalls cannot hide: the requests it held up are counted with the time they were held up.
The event loop rests on `select`, whose timeouts are in microseconds; epoll's are in whole milliseconds, too coarse for this.

Usage: openloop.py URL FILE [--kind image/png] [--rate 500] [--seconds 60] [--connections 64] [--class N]
       openloop.py --digits [--rates 500 1000 2000 4000] [--seconds 10]        Relevo beside its peers
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import selectors
import sys
import tempfile
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httptools
import jobs
import numpy as np
from contenders import digits_contenders, import_image_model
from measuring import Bodies, conditions, running

if TYPE_CHECKING:
    from measuring import Contender

_PATIENCE = 10.0  # seconds an answer may come after the last request was due


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What an open-loop run saw; latencies in milliseconds from the scheduled time."""

    asked: float  # requests a second that were scheduled
    answered: int
    wrong: int  # status other than 2xx, or another class than expected
    missing: int  # no answer at all
    p50: float
    p95: float
    p99: float
    p999: float
    late: float  # p99 of how long after its time a request left, ms: waiting for a connection, or the generator's own delay


class _Line(asyncio.Protocol):
    """One connection; carries one request at a time."""

    def __init__(self, run: _Run) -> None:
        self._run = run
        self._number = -1
        self._parser = httptools.HttpResponseParser(self)
        self._body = b""
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def send(self, number: int, request: bytes) -> None:
        self._number, self._body = number, b""
        self._parser = httptools.HttpResponseParser(self)
        assert self._transport is not None
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        self._run.answered(self, self._number, self._parser.get_status_code(), self._body)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._run.lost(self)


class _Run:
    """One schedule carried out; lives as long as `load`."""

    def __init__(self, address: str, path: str, bodies: Bodies, due: list[float]) -> None:
        parts = urlsplit(address)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 80
        self._requests = [_request(path, bodies.kind, parts.netloc, body) for body in bodies.bodies]
        self._expected = bodies.expected
        self._due = due
        self._waiting: deque[int] = deque()
        self._free: list[_Line] = []
        self.latencies = np.full(len(due), np.nan)
        self.lateness = np.full(len(due), np.nan)
        self.wrong = 0
        self._left = len(due)
        self._finished = asyncio.Event()
        self._begin = 0.0

    async def go(self, connections: int) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(connections):
            _, line = await loop.create_connection(lambda: _Line(self), self._host, self._port)
            self._free.append(line)
        self._begin = loop.time() + 0.05
        for number, moment in enumerate(self._due):
            pause = self._begin + moment - loop.time()
            if pause > 0:
                await asyncio.sleep(pause)
            elif number % 64 == 0:
                await asyncio.sleep(0)  # behind time: let answers in all the same
            self._waiting.append(number)
            self._drain()
        try:
            await asyncio.wait_for(self._finished.wait(), _PATIENCE)
        except TimeoutError:
            return  # those without an answer stay NaN and are counted as missing

    def _drain(self) -> None:
        now = asyncio.get_running_loop().time() - self._begin
        while self._waiting and self._free:
            number = self._waiting.popleft()
            self.lateness[number] = now - self._due[number]
            self._free.pop().send(number, self._requests[number % len(self._requests)])

    def answered(self, line: _Line, number: int, status: int, body: bytes) -> None:
        self.latencies[number] = asyncio.get_running_loop().time() - self._begin - self._due[number]
        expected = self._expected[number % len(self._expected)] if self._expected else None
        if not 200 <= status < 300 or (expected is not None and json.loads(body).get("class") != expected):
            self.wrong += 1
        self._free.append(line)
        self._left -= 1
        if not self._left:
            self._finished.set()
        self._drain()

    def lost(self, line: _Line) -> None:
        if line in self._free:
            self._free.remove(line)


def _request(path: str, kind: str, host: str, body: bytes) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def schedule(rate: float, seconds: float, seed: int = 1) -> list[float]:
    """Poisson arrivals: seconds from the beginning, rising."""
    gaps = np.random.default_rng(seed).exponential(1 / rate, int(rate * seconds))
    return [float(moment) for moment in np.cumsum(gaps)]


def load(contender: Contender, address: str, *, rate: float, seconds: float, connections: int = 64) -> Seen:
    """Offer `rate` requests a second for `seconds`, whatever the server makes of it."""

    async def carry_out() -> _Run:
        run = _Run(address, contender.path, contender.bodies, schedule(rate, seconds))
        await run.go(connections)
        return run

    gc.collect()
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selectors.SelectSelector())) as runner:
        run = runner.run(carry_out())
    known = run.latencies[~np.isnan(run.latencies)] * 1e3
    p50, p95, p99, p999 = (float(value) for value in np.quantile(known, (0.5, 0.95, 0.99, 0.999))) if len(known) else (np.nan,) * 4
    return Seen(
        asked=rate,
        answered=len(known),
        wrong=run.wrong,
        missing=len(run.latencies) - len(known),
        p50=p50,
        p95=p95,
        p99=p99,
        p999=p999,
        late=float(np.nanquantile(run.lateness, 0.99)) * 1e3,
    )


def _beside_peers(chosen: argparse.Namespace) -> None:
    job = jobs.digits()
    print(conditions())
    heads = ("server", "offered/s", "p50 ms", "p95", "p99", "p99.9", "wrong", "missing", "sent late, p99 ms")
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    with tempfile.TemporaryDirectory(prefix="relevo-bench-") as place:
        home = None if chosen.without_relevo else Path(place) / "home"
        model = Path(place) / "digits.onnx"
        model.write_bytes(job.onnx)
        if home is not None:
            import_image_model(job, home)
        contenders = digits_contenders(job, model, home)
        for rate in chosen.rates:
            for name, contender in contenders.items():
                if not any(wanted in name for wanted in chosen.only):
                    continue
                with running(contender) as (address, _):
                    load(contender, address, rate=min(rate, 500.0), seconds=2.0)
                    _print_row(name, load(contender, address, rate=rate, seconds=chosen.seconds))


def _print_row(name: str, seen: Seen) -> None:
    quantiles = " | ".join(f"{value:.2f}" for value in (seen.p50, seen.p95, seen.p99, seen.p999))
    print(f"| {name} | {seen.asked:g} | {quantiles} | {seen.wrong} | {seen.missing} | {seen.late:.2f} |", flush=True)


def main() -> int:
    """One address, or all servers of the digits job; 1 when an answer was wrong or missing at the one address."""
    chosen = _options()
    if chosen.digits:
        _beside_peers(chosen)
        return 0
    from measuring import Contender

    parts = urlsplit(chosen.url)
    expected = () if chosen.expected is None else (chosen.expected,)
    bodies = Bodies(kind=chosen.kind, bodies=(chosen.file.read_bytes(),), expected=expected)
    target = Contender(name=chosen.url, command=(), path=parts.path or "/", bodies=bodies)
    seen = load(target, chosen.url, rate=chosen.rate, seconds=chosen.seconds, connections=chosen.connections)
    _print_row(chosen.url, seen)
    return 1 if seen.wrong or seen.missing else 0


def _options() -> argparse.Namespace:
    options = argparse.ArgumentParser(description="Open-loop load.")
    options.add_argument("url", nargs="?", default="")
    options.add_argument("file", nargs="?", type=Path)
    options.add_argument("--kind", default="image/png")
    options.add_argument("--class", dest="expected", type=int)
    options.add_argument("--rate", type=float, default=500.0)
    options.add_argument("--seconds", type=float, default=10.0)
    options.add_argument("--connections", type=int, default=64)
    options.add_argument("--digits", action="store_true", help="Relevo beside its peers")
    options.add_argument("--rates", type=float, nargs="+", default=[500.0, 1000.0, 2000.0, 4000.0])
    options.add_argument("--only", nargs="*", default=["relevo raw", "mosec raw", "fastapi raw"])
    options.add_argument("--without-relevo", action="store_true")
    return options.parse_args()


if __name__ == "__main__":
    sys.exit(main())
