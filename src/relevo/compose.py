"""The one file that knows everyone: settings in, running processes out. It builds and connects, and decides nothing.

    open_store ─► Store          register ─► a package on the shelf, a version, an alias
    serve ─► socket, supervisor ─┬► worker × n: watcher ─► service ◄─ predict ◄─ app ◄─ uvicorn;  journal; telemetry
                                 └► loop: spool reader ─► shipper ─► history
    start_server ─► the same as a child process, for the demo and for tests
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import msgspec

from relevo.config import Settings
from relevo.domain.prediction import KeepInputs
from relevo.domain.route import Leg, Route
from relevo.errors import ConfigRefused, NotReady, StoreUnavailable
from relevo.supervisor import Command, Supervisor, read_greeting, when_orphaned

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Engine
    from starlette.types import ASGIApp

    from relevo.package.opening import Package
    from relevo.serve.lane import LaneOptions
    from relevo.serve.service import Service
    from relevo.serve.watcher import Loaded
    from relevo.spool.journal import Journal
    from relevo.store.blobs import Blobs
    from relevo.store.history import History
    from relevo.store.labels import Labels
    from relevo.store.registry import Registry, Version
    from relevo.store.shelf import Shelf
    from relevo.telemetry import Telemetry

log = logging.getLogger(__name__)

_FLUSH_EVERY_S = 0.5
_GRACE_BEYOND_DRAIN_S = 3.0
_LOOP_NICENESS = 5
_ROUTES_FILE = "routes.json"


def utc_now() -> datetime:
    """The clock of records."""
    return datetime.now(UTC)


# --- the store --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """All of the store's rooms on one database."""

    engine: Engine
    registry: Registry
    history: History
    labels: Labels
    blobs: Blobs
    shelf: Shelf


def open_store(settings: Settings, *, migrated: bool = False) -> Store:
    """The store of this home, its schema brought up to date unless a parent has done so. Raises StoreUnavailable, WrongSetting."""
    # A worker starts faster and lighter when it loads the database's libraries only here.
    from relevo.store.blobs import Blobs  # noqa: PLC0415
    from relevo.store.engine import connect, migrate  # noqa: PLC0415
    from relevo.store.history import History  # noqa: PLC0415
    from relevo.store.labels import Labels  # noqa: PLC0415
    from relevo.store.registry import Registry  # noqa: PLC0415
    from relevo.store.shelf import Shelf  # noqa: PLC0415

    _make_home(settings)
    engine = connect(settings.store_url)
    if not migrated:
        migrate(engine)
    blobs = Blobs(settings.blobs_folder)
    return Store(
        engine=engine,
        registry=Registry(engine),
        history=History(engine, blobs),
        labels=Labels(engine),
        blobs=blobs,
        shelf=Shelf(settings.packages_folder),
    )


def _make_home(settings: Settings) -> None:
    try:
        settings.home.mkdir(parents=True, exist_ok=True)
    except OSError as cause:
        raise ConfigRefused(reason=f"the folder {settings.home} cannot be made ({cause.strerror})") from cause


def register(settings: Settings, path: Path, *, alias: str = "champion", who: str, why: str) -> Version:
    """Verify a package (folder or .zip), put it on the shelf, give it a version and the alias. Raises PackageRefused."""
    from relevo.package.opening import open_package, replay_golden  # noqa: PLC0415 - not needed by a worker's start

    package = open_package(path)
    replay_golden(package)
    store = open_store(settings)
    with contextlib.closing(_Unpacked(package)) as unpacked:
        store.shelf.put(unpacked.folder, package.digest)
    now = utc_now()
    name = package.manifest.name
    version = store.registry.add(model=name, digest=package.digest, summary=_summary(package), who=who, at=now)
    store.registry.move_alias(name, alias, version.number, who=who, why=why, at=now)
    store.engine.dispose()
    return version


class _Unpacked:
    """A package as a folder, which a .zip becomes for as long as it takes to copy it."""

    def __init__(self, package: Package) -> None:
        self._held = None if package.folder is not None else tempfile.TemporaryDirectory(prefix="relevo-")
        self.folder = package.folder or Path(self._held.name) / "package"  # type: ignore[union-attr]  # held when no folder is
        if self._held is not None:
            package.write(self.folder)

    def close(self) -> None:
        """Remove what was only there for the copy."""
        if self._held is not None:
            self._held.cleanup()


def _summary(package: Package) -> dict[str, Any]:
    manifest = package.manifest
    return {
        "task": manifest.output.task.value,
        "labels": list(manifest.output.labels),
        "input": msgspec.to_builtins(manifest.input)["type"],
        "description": manifest.description,
        "framework": manifest.lineage.framework,
        "metrics": package.metrics,
    }


# --- processes: the server as a whole -----------------------------------------------------------------------------------------


def serve(settings: Settings, *, ready: Callable[[str], None] | None = None) -> int:
    """Serve until SIGTERM or Ctrl-C. ready: told the URL once every worker answers. Returns the exit code."""
    from relevo.telemetry import fold  # noqa: PLC0415 - the supervisor needs nothing else of it

    _make_home(settings)
    settings.telemetry_folder.mkdir(exist_ok=True)
    fold(settings.telemetry_folder)
    _migrate_if_reachable(settings)
    listener = _listen(settings)
    address = f"http://{_shown_host(settings.host)}:{listener.getsockname()[1]}"
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with contextlib.closing(listener):
        _supervise(settings, listener, stop, lambda: ready(address) if ready else None)
    return 0


def _supervise(settings: Settings, listener: socket.socket, stop: threading.Event, ready: Callable[[], None]) -> None:
    read_end, write_end = os.pipe()
    greeting = settings_line(settings)
    count = settings.worker_count
    worker = Command(
        name="worker", module="relevo.entry.worker", greeting=greeting, pass_fds=(listener.fileno(), write_end)
    )
    worker_line = json.dumps({"listener": listener.fileno(), "ready": write_end}).encode() + b"\n"
    worker = Command(name="worker", module=worker.module, greeting=greeting + worker_line, pass_fds=worker.pass_fds)
    loop = Command(name="loop", module="relevo.entry.loop", greeting=greeting, nice=_LOOP_NICENESS)
    folder = settings.telemetry_folder
    from relevo.telemetry import fold  # noqa: PLC0415 - as above

    supervisor = Supervisor(
        [*[worker] * count, loop],
        grace_s=settings.drain_seconds + _GRACE_BEYOND_DRAIN_S,
        died=lambda pid: fold(folder, [path.stem for path in folder.glob(f"{pid}-*.json")]),
    )
    announcer = threading.Thread(target=_announce, args=(read_end, count, ready), daemon=True)
    announcer.start()
    try:
        supervisor.run(stop)
    finally:
        os.close(write_end)
        announcer.join(1.0)
        os.close(read_end)


def _announce(read_end: int, count: int, ready: Callable[[], None]) -> None:
    """Wait for one byte from each worker, then say so."""
    for _ in range(count):
        if not os.read(read_end, 1):
            return
    ready()


def _migrate_if_reachable(settings: Settings) -> None:
    try:
        open_store(settings).engine.dispose()
    except StoreUnavailable:
        # What was registered before is served from the routes each worker remembers; journals wait.
        log.warning("the database does not answer; serving what is known", extra={"action": "store_away"})


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as cause:
        listener.close()
        raise ConfigRefused(
            reason=f"port {settings.port} of {settings.host} cannot be used ({cause.strerror}); choose another with --port"
        ) from cause
    listener.listen(1024)
    listener.set_inheritable(True)
    return listener


def _shown_host(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def settings_line(settings: Settings) -> bytes:
    """Settings as one line for a child."""
    return json.dumps(asdict(settings), default=str).encode() + b"\n"


def settings_from_line(line: bytes) -> Settings:
    """What `settings_line` wrote."""
    plain = json.loads(line)
    return Settings(**{**plain, "home": Path(plain["home"])})


class RunningServer:
    """A server in a process of its own; lives from start_server to stop."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._told = threading.Event()
        self.url = ""
        threading.Thread(target=self._listen, daemon=True).start()

    @property
    def pid(self) -> int:
        """Pid of the supervisor."""
        return self._process.pid

    def wait_ready(self, timeout: float) -> None:
        """Wait until every worker answers; timeout in seconds. Raises NotReady."""
        if not self._told.wait(timeout) or not self.url:
            raise NotReady(reason=f"the server did not start within {timeout:g} s")

    def stop(self) -> int:
        """End it in order and give its exit code."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        code = self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        return code

    def _listen(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 - narrows: it was asked for
        line = self._process.stdout.readline()
        if line:
            self.url = json.loads(line)["url"]
        self._told.set()


def start_server(settings: Settings) -> RunningServer:
    """Start `serve` as a child; call wait_ready next."""
    process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
        [sys.executable, "-m", "relevo.entry.server"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )
    assert process.stdin is not None  # noqa: S101 - narrows: it was asked for
    process.stdin.write(settings_line(settings))
    process.stdin.flush()
    return RunningServer(process)


# --- processes: one worker ------------------------------------------------------------------------------------------------------


def run_worker() -> None:
    """A worker process: settings and descriptors come on standard input. Returns when it was told to stop and has drained."""
    settings = settings_from_line(read_greeting())
    descriptors = json.loads(read_greeting())
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import uvloop  # noqa: PLC0415 - the supervisor does without

    from relevo.telemetry import configure_logging  # noqa: PLC0415 - the supervisor has its own

    configure_logging(settings.log_level, settings.log_format)
    listener = socket.socket(fileno=descriptors["listener"])
    uvloop.run(_worker(settings, listener, descriptors["ready"]))


async def _worker(settings: Settings, listener: socket.socket, ready_fd: int) -> None:
    from relevo.serve.service import Service  # noqa: PLC0415 - the supervisor does without
    from relevo.serve.watcher import Watcher  # noqa: PLC0415
    from relevo.telemetry import Telemetry  # noqa: PLC0415

    boot = f"{os.getpid()}-{uuid4().hex[:8]}"
    journal = _journal(settings, boot)
    telemetry = Telemetry(settings.telemetry_folder, boot)
    service = Service(
        default_model=settings.default_model, max_rows=settings.max_rows, journal_trouble=_trouble_of(settings, journal)
    )
    store = open_store(settings, migrated=True)
    watcher = Watcher(
        service,
        routes=_remembered_routes(settings, store),
        load=_loader(settings, store),
        write=_counted(journal, telemetry),
        options=_lane_options(settings),
    )
    first_look = asyncio.ensure_future(watcher.look())
    server = _http_server(settings, _app(settings, service, store, telemetry))
    await first_look
    tasks = [
        asyncio.ensure_future(watcher.run(settings.watch_every_ms / 1000)),
        asyncio.ensure_future(_housekeeping(service, journal, telemetry)),
    ]
    when_orphaned(lambda: os.kill(os.getpid(), signal.SIGTERM))
    serving = asyncio.ensure_future(server.serve(sockets=[listener]))
    while not server.started and not serving.done():
        await asyncio.sleep(0.005)
    os.write(ready_fd, b"r")
    os.close(ready_fd)
    await serving
    await service.drain()
    for task in tasks:
        task.cancel()
    await asyncio.to_thread(journal.close)
    telemetry.ready = False
    telemetry.flush()
    store.engine.dispose()


def _journal(settings: Settings, boot: str) -> Journal:
    from relevo.spool.journal import Journal, JournalLimits  # noqa: PLC0415 - the supervisor does without

    limits = JournalLimits(
        rotate_bytes=settings.spool_rotate_mb * 2**20,
        rotate_s=float(settings.spool_rotate_s),
        max_bytes=settings.spool_max_mb * 2**20,
    )
    return Journal(settings.spool_folder / boot, durability=settings.durability, limits=limits)


def _trouble_of(settings: Settings, journal: Journal) -> Callable[[], str]:
    if settings.durability == "relaxed":
        return str
    return lambda: "" if journal.probe() else journal.trouble


def _lane_options(settings: Settings) -> LaneOptions:
    from relevo.serve.lane import LaneOptions  # noqa: PLC0415 - the supervisor does without

    return LaneOptions(
        max_batch_rows=settings.batch_rows,
        max_queue_rows=settings.max_queue_rows,
        durability=settings.durability,
        keep_inputs=KeepInputs(settings.keep_inputs),
        keep_inputs_share=settings.keep_inputs_share,
    )


def _counted(journal: Journal, telemetry: Telemetry) -> Callable[[Any], None]:
    """The journal's write, with the size of each batch counted."""
    write, count = journal.write, telemetry.batch

    def counted(predictions: Any) -> None:  # noqa: ANN401 - as the journal takes them
        write(predictions)
        count(len(predictions))

    return counted


def _app(settings: Settings, service: Service, store: Store, telemetry: Telemetry) -> ASGIApp:
    from relevo.web.app import Parts, build_app  # noqa: PLC0415 - the supervisor does without
    from relevo.web.predict import PredictHandlers  # noqa: PLC0415

    parts = Parts(
        service=service,
        predict=PredictHandlers(service, settings, telemetry, workers=settings.worker_count),
        registry=store.registry,
        history=store.history,
        labels=store.labels,
        settings=settings,
        metrics=telemetry.exposition,
    )
    return build_app(parts)


def _http_server(settings: Settings, app: ASGIApp) -> Any:  # noqa: ANN401 - uvicorn is loaded here
    import uvicorn  # noqa: PLC0415 - the supervisor does without

    config = uvicorn.Config(
        app,
        http="httptools",
        loop="none",
        ws="none",
        lifespan="off",
        interface="asgi3",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=settings.drain_seconds,
    )
    return uvicorn.Server(config)


def _remembered_routes(settings: Settings, store: Store) -> Callable[[], list[Route]]:
    """The stored routes; when the store is away at the start, those last seen by any worker of this home."""
    place = settings.home / _ROUTES_FILE
    seen: list[Route] | None = None

    def routes() -> list[Route]:
        nonlocal seen
        try:
            now = store.registry.routes()
        except StoreUnavailable:
            if seen is None and place.exists():
                seen = msgspec.json.decode(place.read_bytes(), type=list[Route])
                return seen
            raise
        if now != seen:
            seen = now
            draft = place.with_suffix(f".{os.getpid()}")
            # Remembering is a comfort: a full disk must not stop a swap.
            with contextlib.suppress(OSError):
                draft.write_bytes(msgspec.json.encode(now))
                draft.replace(place)
        return now

    return routes


def _loader(settings: Settings, store: Store) -> Callable[[Leg], Loaded]:
    from relevo.package.opening import load_runnable, open_package, replay_golden  # noqa: PLC0415 - the supervisor does without
    from relevo.runtime.image import ImageLimits  # noqa: PLC0415
    from relevo.serve.watcher import Loaded  # noqa: PLC0415

    limits = ImageLimits(max_pixels=settings.max_pixels, max_side=settings.max_side)

    def load(leg: Leg) -> Loaded:
        package = open_package(store.shelf.path(leg.digest), digest=leg.digest)
        model = load_runnable(package, threads=settings.threads_per_model, limits=limits)
        replay_golden(model, package.golden)
        rows = [model.prepare(payload) for payload in package.golden.payloads]
        begin = time.perf_counter()
        model.finish(model.run(rows))
        return Loaded(model=model, row_cost_s=(time.perf_counter() - begin) / len(rows))

    return load


async def _housekeeping(service: Service, journal: Journal, telemetry: Telemetry) -> None:
    """Twice a second: let an old journal file go, and tell the numbers."""
    swaps = 0
    while True:
        await asyncio.sleep(_FLUSH_EVERY_S)
        journal.rotate_if_old()
        telemetry.queue_rows = service.rows_waiting()
        telemetry.ready = service.ready()[0]
        telemetry.spool_bytes = await asyncio.to_thread(journal.size)
        while swaps < service.swaps:
            telemetry.swapped()
            swaps += 1
        await asyncio.to_thread(telemetry.flush)


# --- processes: the loop ----------------------------------------------------------------------------------------------------------


def run_loop() -> None:
    """The loop process: settings come on standard input. Returns when it was told to stop and has shipped what was left."""
    settings = settings_from_line(read_greeting())
    from relevo.loop.ship import Shipper  # noqa: PLC0415 - a worker does without
    from relevo.loop.tick import Loop, Pace  # noqa: PLC0415
    from relevo.spool.reading import SpoolReader  # noqa: PLC0415
    from relevo.store.engine import checkpoint  # noqa: PLC0415
    from relevo.telemetry import configure_logging  # noqa: PLC0415

    configure_logging(settings.log_level, settings.log_format)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    when_orphaned(stop.set)
    store = open_store(settings, migrated=True)
    loop = Loop(
        Shipper(SpoolReader(settings.spool_folder), store.history),
        checkpoint=lambda: checkpoint(store.engine),
        pace=Pace(ship_every_s=settings.ship_every_ms / 1000),
        monotonic=time.monotonic,
    )
    loop.run(stop)
    store.engine.dispose()
