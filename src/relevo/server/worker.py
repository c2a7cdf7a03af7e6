"""One worker process: everything a request meets, connected. Forked by the supervisor, never started by hand.

settings, descriptors ─► journal, telemetry, service, store ─► watcher's first look ─► uvicorn on the shared socket ─► ready byte
SIGTERM, or the supervisor gone ─► uvicorn ends its requests ─► service drains ─► journal closes
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import time
import warnings
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import uvloop

from relevo.domain.prediction import InputLogging
from relevo.domain.routing import RouteTarget, TrafficSplit
from relevo.errors import DatabaseUnavailableError
from relevo.package.package import load_runnable, open_package, replay_golden
from relevo.recording.journal import Journal, JournalLimits
from relevo.runtime.batch_probe import best_batch_size
from relevo.runtime.image import ImageLimits
from relevo.serve.loaded_version import ServingOptions
from relevo.serve.model_loader import ModelLoader, WarmModel
from relevo.serve.service import ModelService
from relevo.server.background_tasks import start_background_task
from relevo.server.curation import Cleaning
from relevo.server.encryption_keys import load_day_key, refresh_day_keys
from relevo.server.http import http_server
from relevo.server.model_status import save_load_failures
from relevo.server.oidc import oidc_provider
from relevo.server.stores import ROUTES_FILE, Store, open_store, utc_now
from relevo.server.supervisor import when_orphaned
from relevo.server.sync import refresh_access, sync_access
from relevo.server.tls import TlsContext
from relevo.store.files.key_files import load_or_create_key
from relevo.telemetry import Telemetry, configure_logging, render
from relevo.util.state_file import load_state, save_state
from relevo.web.app import AppContext, build_app
from relevo.web.auth.exposure import is_exposed
from relevo.web.auth.guard import Authenticator
from relevo.web.auth.sessions import SessionCache
from relevo.web.middleware.rate_limit import allowance_of
from relevo.web.predict.handlers import PredictHandlers
from relevo.web.predict.subjects import SubjectResolver

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    import uvicorn
    from starlette.types import ASGIApp

    from relevo.config import Settings
    from relevo.server.tls import Certificate
    from relevo.store.encryption import InputEncryption

_FLUSH_EVERY_S = 0.5
_RENEWAL_EVERY_S = 5.0
#: Objects made, less those freed, between two looks for cycles.
_COLLECT_EVERY = 50_000


def run_worker(
    settings: Settings,
    listener: socket.socket,
    life: int,
    *,
    present: Callable[[], None],
    certificate: Certificate | None = None,
    insecure: bool = False,
) -> None:
    """Be a worker until told to stop, then drain. life: see `supervisor.Role`. present: called once it answers."""
    configure_logging(settings.log_level, settings.log_format)
    # A request leaves no cycles behind; looking for some every few hundred objects cost 5 % of the digits job.
    gc.set_threshold(_COLLECT_EVERY)
    # What a stranger's picture lacks in its metadata is no news to whoever runs the server.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    encryption = TlsContext(certificate, outward=not settings.stays_here) if certificate else None
    uvloop.run(_worker(settings, listener, encryption, present, life, insecure=insecure))


async def _worker(
    settings: Settings,
    listener: socket.socket,
    encryption: TlsContext | None,
    present: Callable[[], None],
    life: int,
    *,
    insecure: bool,
) -> None:
    boot = f"{os.getpid()}-{uuid4().hex[:8]}"
    journal = _journal(settings, boot)
    telemetry = Telemetry(settings.telemetry_folder, boot)
    service = ModelService(
        default_model=settings.default_model,
        max_records_per_request=settings.max_records_per_request,
        journal_trouble=_trouble_of(settings, journal),
    )
    store = open_store(settings, migrated=True)
    sealing = store.sealing if settings.encrypt_inputs == "on" else None
    watcher = ModelLoader(
        service,
        routes=_remembered_routes(settings, store),
        load=_loader(settings, store),
        write=_counted(journal, telemetry, sealing),
        options=_lane_options(settings),
    )
    first_look = asyncio.ensure_future(watcher.look())
    door = Authenticator(sessions=SessionCache(store.people.sessions, utc_now))
    subjects = SubjectResolver(store.erasing.pseudonym, sealing, now=utc_now)
    predict = PredictHandlers(service, settings, telemetry, door, allowance=allowance_of(settings), subjects=subjects)
    server = http_server(settings, _app(settings, predict, service, store, telemetry, door), predict, encryption)
    openly = insecure or not is_exposed(settings)
    await asyncio.to_thread(refresh_access, settings, store, door, openly=openly)
    if sealing is not None:
        await load_day_key(sealing, utc_now)
    await first_look
    tasks = [
        start_background_task("following routes", partial(watcher.run, settings.route_poll_ms / 1000)),
        start_background_task("following people", partial(sync_access, settings, store, door, openly=openly)),
        start_background_task("housekeeping", partial(_housekeeping, service, journal, telemetry)),
        *([start_background_task("following days", partial(refresh_day_keys, sealing, utc_now))] if sealing else []),
        *([start_background_task("following the certificate", partial(_renewals, encryption, telemetry))] if encryption else []),
    ]
    when_orphaned(life, lambda: os.kill(os.getpid(), signal.SIGTERM))
    serving = asyncio.ensure_future(server.serve(sockets=[listener]))
    await asyncio.to_thread(save_load_failures, settings.home, service.models())
    await _tell_ready(server, present)
    await serving
    await service.drain()
    for task in tasks:
        task.cancel()
    await asyncio.to_thread(journal.close)
    telemetry.ready = False
    telemetry.flush()
    store.engine.dispose()


async def _tell_ready(server: uvicorn.Server, present: Callable[[], None]) -> None:
    """Tell the supervisor, who announces the server when every worker has told."""
    # uvicorn has no event for it; accepting begins within a few turns of the loop.
    while not server.started and not server.should_exit:  # noqa: ASYNC110 - see above
        await asyncio.sleep(0.005)
    present()


def _journal(settings: Settings, boot: str) -> Journal:
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


def _lane_options(settings: Settings) -> ServingOptions:
    return ServingOptions(
        max_batch_size=settings.max_batch_size,
        max_queue_size=settings.max_queue_size,
        max_queue_seconds=settings.max_queue_seconds,
        durability=settings.durability,
        log_inputs=InputLogging(settings.log_inputs),
        log_inputs_rate=settings.log_inputs_rate,
    )


def _counted(journal: Journal, telemetry: Telemetry, sealing: InputEncryption | None) -> Callable[[Any], None]:
    """The journal's write, with the size of each batch counted and, where that is wanted, its inputs sealed."""
    count = telemetry.batch
    write = journal.write if sealing is None else _sealed(journal, sealing)

    def counted(predictions: Any) -> None:
        write(predictions)
        count(len(predictions))

    return counted


def _sealed(journal: Journal, sealing: InputEncryption) -> Callable[[Any], None]:
    return lambda predictions: journal.write(sealing.seal_all(predictions))


def _app(
    settings: Settings, predict: PredictHandlers, service: ModelService, store: Store, telemetry: Telemetry, door: Authenticator
) -> ASGIApp:
    parts = AppContext(
        service=service,
        predict=predict,
        registry=store.registry,
        history=store.history,
        labels=store.labels,
        traffic=store.traffic,
        shelf=store.shelf,
        asking=store.asking,
        clean=Cleaning(store.history, store.labels, settings).look,
        people=store.people,
        audit=store.audit,
        trail=store.trail,
        erasing=store.erasing,
        door=door,
        settings=settings,
        metrics=_metrics(settings, telemetry),
        allowance=predict.allowance,
        provider=oidc_provider(settings),
        console_key=load_or_create_key(settings.console_key),
    )
    return build_app(parts)


def _metrics(settings: Settings, telemetry: Telemetry) -> Callable[[], bytes]:
    """Prometheus text of every process of this home, this one's own numbers up to the moment."""

    def text() -> bytes:
        telemetry.flush()
        return render(settings.telemetry_folder)

    return text


def _remembered_routes(settings: Settings, store: Store) -> Callable[[], list[TrafficSplit]]:
    """The stored routes; when the store is away at the start, those last seen by any worker of this home."""
    place = settings.home / ROUTES_FILE
    seen: list[TrafficSplit] | None = None

    def routes() -> list[TrafficSplit]:
        nonlocal seen
        try:
            now = store.registry.routes()
        except DatabaseUnavailableError:
            known = load_state(place, list[TrafficSplit]) if seen is None else None
            if known is None:
                raise
            seen = known
            return known
        if now != seen:
            seen = now
            save_state(place, now)
        return now

    return routes


def _loader(settings: Settings, store: Store) -> Callable[[RouteTarget], WarmModel]:
    limits = ImageLimits(max_pixels=settings.max_pixels, max_side=settings.max_side)

    def load(leg: RouteTarget) -> WarmModel:
        package = open_package(store.shelf.path(leg.digest), digest=leg.digest)
        model = load_runnable(package, threads=settings.intra_op_threads, limits=limits)
        replay_golden(model, package.golden)
        rows = [model.prepare(payload) for payload in package.golden.payloads]
        model.rows_at_once = best_batch_size(model.run, rows[0])
        begin = time.perf_counter()
        model.finish(model.run(rows))
        return WarmModel(model=model, row_cost_s=(time.perf_counter() - begin) / len(rows))

    return load


async def _renewals(encryption: TlsContext, telemetry: Telemetry) -> None:
    """Look after the certificate's files now and then, and tell when the one in use ends."""
    while True:
        telemetry.certificate_until = int(encryption.until.timestamp())
        await asyncio.sleep(_RENEWAL_EVERY_S)
        await asyncio.to_thread(encryption.refresh)


async def _housekeeping(service: ModelService, journal: Journal, telemetry: Telemetry) -> None:
    """Twice a second: let an old journal file go, and tell the numbers."""
    while True:
        await asyncio.sleep(_FLUSH_EVERY_S)
        # Aside: at durability=full a write under way holds the journal for as long as the disk takes.
        await asyncio.to_thread(journal.rotate_if_old)
        telemetry.queue_rows = service.rows_waiting()
        telemetry.ready = service.ready()[0]
        telemetry.spool_bytes = await asyncio.to_thread(journal.size)
        telemetry.swaps = service.swaps
        await asyncio.to_thread(telemetry.flush)
