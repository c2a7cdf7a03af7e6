"""Builds and runs one worker process, which answers HTTP requests. Forked by the supervisor.

settings, socket ─► journal, telemetry, service, store ─► first model load ─► uvicorn on the socket ─► ready byte to the supervisor
SIGTERM, or supervisor gone ─► uvicorn completes its requests ─► service drains ─► journal closes
"""

from __future__ import annotations

import asyncio
import gc
import logging
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
from relevo.package.package import load_runnable, open_stored, replay_golden
from relevo.recording.journal import Journal, JournalLimits
from relevo.runtime.batch_probe import best_batch_size
from relevo.runtime.image import ImageLimits
from relevo.serve.loaded_version import ServingOptions
from relevo.serve.model_loader import ModelLoader, WarmModel
from relevo.serve.service import ModelService
from relevo.server.admin import LabelCuration
from relevo.server.home import ROUTES_FILE
from relevo.server.http import http_server
from relevo.server.model_status import save_load_failures
from relevo.server.oidc import oidc_provider
from relevo.server.stores import Store, open_store, utc_now
from relevo.server.supervisor import when_orphaned
from relevo.server.sync import load_day_key, refresh_access, refresh_day_keys, sync_access
from relevo.server.tls import TlsContext
from relevo.store.files.key_files import load_or_create_key
from relevo.telemetry import Telemetry, configure_logging, render
from relevo.util.files import load_state, save_state
from relevo.web.app import AppContext, build_app
from relevo.web.auth.exposure import is_exposed
from relevo.web.auth.guard import Authenticator
from relevo.web.auth.sessions import SessionCache
from relevo.web.middleware.rate_limit import allowance_of
from relevo.web.predict.handlers import PredictHandlers
from relevo.web.predict.subjects import SubjectResolver

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable

    import uvicorn
    from starlette.types import ASGIApp

    from relevo.config import Settings
    from relevo.server.tls import Certificate
    from relevo.store.encryption import InputEncryption

log = logging.getLogger(__name__)

_FLUSH_INTERVAL_S = 0.5
_RESTART_DELAY_S = 1.0
_CERTIFICATE_POLL_S = 5.0
#: Allocated minus freed objects between two runs of the cyclic garbage collector.
_GC_THRESHOLD = 50_000


def run_worker(
    settings: Settings,
    listener: socket.socket,
    parent_pipe: int,
    *,
    ready: Callable[[], None],
    certificate: Certificate | None = None,
    insecure: bool = False,
) -> None:
    """Runs a worker until SIGTERM, then drains it.

    parent_pipe: see `supervisor.ProcessSpec.act`. ready: called once it accepts requests.
    """
    configure_logging(settings.log_level, settings.log_format)
    # A request creates no reference cycles; collecting every few hundred objects cost 5 % of the digits benchmark.
    gc.set_threshold(_GC_THRESHOLD)
    # Warnings about the metadata of a client's image do not concern the operator.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    tls = TlsContext(certificate, exposed=not settings.is_local_only) if certificate else None
    uvloop.run(_worker(settings, listener, tls, ready, parent_pipe, insecure=insecure))


async def _worker(
    settings: Settings,
    listener: socket.socket,
    tls: TlsContext | None,
    ready: Callable[[], None],
    parent_pipe: int,
    *,
    insecure: bool,
) -> None:
    process_id = f"{os.getpid()}-{uuid4().hex[:8]}"
    journal = _journal(settings, process_id)
    telemetry = Telemetry(settings.telemetry_folder, process_id)
    service = ModelService(
        default_model=settings.default_model,
        max_records_per_request=settings.max_records_per_request,
        journal_trouble=_journal_check(settings, journal),
    )
    store = open_store(settings, migrated=True)
    encryption = store.encryption if settings.encrypt_inputs == "on" else None
    loader = ModelLoader(
        service,
        routes=_cached_routes(settings, store),
        load=_model_loader(settings, store),
        write=_journal_writer(journal, telemetry, encryption),
        options=_serving_options(settings),
    )
    first_load = asyncio.ensure_future(loader.poll())
    authenticator = Authenticator(sessions=SessionCache(store.users.sessions, utc_now))
    subjects = SubjectResolver(store.erasure.pseudonymize, encryption, now=utc_now)
    predict = PredictHandlers(service, settings, telemetry, authenticator, allowance=allowance_of(settings), subjects=subjects)
    server = http_server(settings, _app(settings, predict, service, store, telemetry, authenticator), predict, tls)
    allow_anonymous = insecure or not is_exposed(settings)
    await asyncio.to_thread(refresh_access, settings, store, authenticator, allow_anonymous=allow_anonymous)
    if encryption is not None:
        await load_day_key(encryption, utc_now)
    await first_load
    tasks = [
        start_background_task("following routes", partial(loader.run, settings.route_poll_ms / 1000)),
        start_background_task(
            "following people", partial(sync_access, settings, store, authenticator, allow_anonymous=allow_anonymous)
        ),
        start_background_task("housekeeping", partial(_housekeeping, service, journal, telemetry)),
        *([start_background_task("following days", partial(refresh_day_keys, encryption, utc_now))] if encryption else []),
        *([start_background_task("following the certificate", partial(_refresh_certificate, tls, telemetry))] if tls else []),
    ]
    when_orphaned(parent_pipe, lambda: os.kill(os.getpid(), signal.SIGTERM))
    serving = asyncio.ensure_future(server.serve(sockets=[listener]))
    await asyncio.to_thread(save_load_failures, settings.home, service.models())
    await _signal_ready(server, ready)
    await serving
    await service.drain()
    for task in tasks:
        task.cancel()
    await asyncio.to_thread(journal.close)
    telemetry.ready = False
    telemetry.flush()
    store.engine.dispose()


async def _signal_ready(server: uvicorn.Server, ready: Callable[[], None]) -> None:
    """Signals the supervisor, which announces the server when every worker is ready."""
    # uvicorn has no event for this; it accepts within a few iterations of the event loop.
    while not server.started and not server.should_exit:  # noqa: ASYNC110 - see above
        await asyncio.sleep(0.005)
    ready()


def _journal(settings: Settings, process_id: str) -> Journal:
    limits = JournalLimits(
        rotate_bytes=settings.spool_rotate_mb * 2**20,
        rotate_s=float(settings.spool_rotate_s),
        max_bytes=settings.spool_max_mb * 2**20,
    )
    return Journal(settings.spool_folder / process_id, durability=settings.durability, limits=limits)


def _journal_check(settings: Settings, journal: Journal) -> Callable[[], str]:
    if settings.durability == "relaxed":
        return str
    return lambda: "" if journal.is_writable() else journal.error


def _serving_options(settings: Settings) -> ServingOptions:
    return ServingOptions(
        max_batch_size=settings.max_batch_size,
        max_queue_size=settings.max_queue_size,
        max_queue_seconds=settings.max_queue_seconds,
        durability=settings.durability,
        log_inputs=InputLogging(settings.log_inputs),
        log_inputs_rate=settings.log_inputs_rate,
    )


def _journal_writer(journal: Journal, telemetry: Telemetry, encryption: InputEncryption | None) -> Callable[[Any], None]:
    """The journal's write function, which also counts batch sizes and, if configured, encrypts the inputs."""
    count = telemetry.count_batch
    write = journal.write if encryption is None else _encrypting_writer(journal, encryption)

    def write_and_count(predictions: Any) -> None:
        write(predictions)
        count(len(predictions))

    return write_and_count


def _encrypting_writer(journal: Journal, encryption: InputEncryption) -> Callable[[Any], None]:
    return lambda predictions: journal.write(encryption.encrypt_all(predictions))


def _app(
    settings: Settings,
    predict: PredictHandlers,
    service: ModelService,
    store: Store,
    telemetry: Telemetry,
    authenticator: Authenticator,
) -> ASGIApp:
    context = AppContext(
        service=service,
        predict=predict,
        registry=store.registry,
        predictions=store.predictions,
        labels=store.labels,
        traffic=store.traffic,
        packages=store.packages,
        label_queue=store.label_queue,
        curate=LabelCuration(store.predictions, store.labels, settings).report,
        users=store.users,
        audit=store.audit,
        audit_reader=store.audit_reader,
        erasure=store.erasure,
        authenticator=authenticator,
        settings=settings,
        metrics=_metrics(settings, telemetry),
        rate_limiter=predict.allowance,
        provider=oidc_provider(settings),
        console_key=load_or_create_key(settings.console_key),
    )
    return build_app(context)


def _metrics(settings: Settings, telemetry: Telemetry) -> Callable[[], bytes]:
    """Returns a function that gives the Prometheus text of all processes of this home; the numbers of this worker are current."""

    def text() -> bytes:
        telemetry.flush()
        return render(settings.telemetry_folder)

    return text


def _cached_routes(settings: Settings, store: Store) -> Callable[[], list[TrafficSplit]]:
    """Returns a function that reads the routes; if the database is unavailable at the start, the routes cached in the home."""
    cache_file = settings.home / ROUTES_FILE
    last: list[TrafficSplit] | None = None

    def routes() -> list[TrafficSplit]:
        nonlocal last
        try:
            current = store.registry.routes()
        except DatabaseUnavailableError:
            cached = load_state(cache_file, list[TrafficSplit]) if last is None else None
            if cached is None:
                raise
            last = cached
            return cached
        if current != last:
            last = current
            save_state(cache_file, current)
        return current

    return routes


def _model_loader(settings: Settings, store: Store) -> Callable[[RouteTarget], WarmModel]:
    limits = ImageLimits(max_pixels=settings.max_pixels, max_side=settings.max_side)

    def load(target: RouteTarget) -> WarmModel:
        package = open_stored(store.packages, target.digest)
        model = load_runnable(package, threads=settings.intra_op_threads, limits=limits)
        replay_golden(model, package.golden)
        rows = [model.preprocess(payload) for payload in package.golden.payloads]
        model.best_batch_size = best_batch_size(model.run, rows[0])
        start = time.perf_counter()
        model.postprocess(model.run(rows))
        return WarmModel(model=model, row_cost_s=(time.perf_counter() - start) / len(rows))

    return load


async def _refresh_certificate(tls: TlsContext, telemetry: Telemetry) -> None:
    """Reloads renewed certificate files periodically, and reports when the current certificate expires."""
    while True:
        telemetry.certificate_until = int(tls.until.timestamp())
        await asyncio.sleep(_CERTIFICATE_POLL_S)
        await asyncio.to_thread(tls.refresh)


async def _housekeeping(service: ModelService, journal: Journal, telemetry: Telemetry) -> None:
    """Rotates old journal files and flushes the metrics, twice a second."""
    while True:
        await asyncio.sleep(_FLUSH_INTERVAL_S)
        # In a thread: with durability=full a write in progress holds the journal's lock for as long as the disk takes.
        await asyncio.to_thread(journal.rotate_if_old)
        telemetry.queue_rows = service.rows_waiting()
        telemetry.ready = service.ready()[0]
        telemetry.spool_bytes = await asyncio.to_thread(journal.size)
        telemetry.swaps = service.swaps
        await asyncio.to_thread(telemetry.flush)


def start_background_task(name: str, create: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
    """Runs an endless coroutine until it is cancelled. create: creates the coroutine; called again after each error."""
    return asyncio.create_task(_restart_on_error(name, create), name=name)


async def _restart_on_error(name: str, create: Callable[[], Awaitable[None]]) -> None:
    # A task that ends silently would leave revoked keys valid and new versions unloaded while predictions go on.
    while True:
        try:
            await create()
        except Exception:
            log.exception("%s failed and is begun anew", name, extra={"action": "side_task_failed", "task": name})
        await asyncio.sleep(_RESTART_DELAY_S)
