"""The server as a whole: listening sockets, a supervisor, its workers and the loop.

serve ─► listen ─► migrate ─► load ─► supervisor ─┬► worker × n     one byte on the roll call's pipe each ─► ready(url)
                                                  ├► console, where wanted
                                                  └► loop

A child keeps no listening socket but its own: one that outlived the others would go on taking callers whom nobody answers.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
from functools import partial
from typing import TYPE_CHECKING

from relevo.errors import ConfigError, DatabaseSchemaTooNewError, DatabaseUnavailableError
from relevo.recording.reader import is_writer_dead
from relevo.server.console import local_url, run_console
from relevo.server.instance_lock import hold_instance_lock, once_orphans_ended
from relevo.server.oidc import oidc_provider
from relevo.server.stores import make_home, open_store, utc_now
from relevo.server.supervisor import ProcessSpec, Supervisor
from relevo.server.tls import certificate_of
from relevo.server.users_marker import had_users
from relevo.store.db.identity import error_of, read_state
from relevo.store.files.drafts import sweep_drafts
from relevo.store.files.key_files import load_or_create_key
from relevo.telemetry import merge_dead
from relevo.util.proxy_headers import parse_trusted_proxies
from relevo.util.stop_flag import StopFlag
from relevo.web.auth.exposure import check_exposure

if TYPE_CHECKING:
    from collections.abc import Callable

    from relevo.config import Settings
    from relevo.server.tls import Certificate

log = logging.getLogger(__name__)

_GRACE_BEYOND_DRAIN_S = 3.0
#: The loop gives way to the workers: a request never waits for shipping.
_LOOP_NICENESS = 5
_BACKLOG = 1024
#: For this process and all its children.
_ENVIRONMENT = {"ORT_DISABLE_TELEMETRY": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def serve(
    settings: Settings,
    *,
    insecure: bool = False,
    ready: Callable[[str], None] | None = None,
    warn: Callable[[str], None] = log.warning,
    alone: Callable[[], bool] = lambda: False,
    console: socket.socket | None = None,
) -> int:
    """Serve until SIGTERM, Ctrl-C or `alone` says that nobody waits for this server any more. Returns the exit code.

    insecure: a person wants it served beyond this machine whatever that lacks. ready: told the URL once every worker answers.
    warn: told what it lacks where others can reach it. console: where to show the console too.
    Raises ConfigError when it cannot listen, encrypt, has no home, or may not be reached from where it would be.
    """
    check_server_exposure(settings, insecure=insecure)
    _quiet_libraries()
    # Whatever this server and its children write is the owner's alone: it tells what people sent.
    os.umask(0o077)
    make_home(settings)
    with hold_instance_lock(settings.home) as note:
        return _serve_alone(settings, insecure=insecure, note=note, ready=ready, warn=warn, alone=alone, console=console)


def _serve_alone(
    settings: Settings,
    *,
    insecure: bool,
    note: Callable[[str], None],
    ready: Callable[[str], None] | None,
    warn: Callable[[str], None],
    alone: Callable[[], bool],
    console: socket.socket | None,
) -> int:
    _sweep(settings)
    certificate = certificate_of(settings, utc_now())
    once_orphans_ended(partial(check_address, settings))
    warning = check_exposure(settings, users=_migrate_if_reachable(settings), insecure=insecure)
    if warning:
        warn(warning)
    # Made before the first worker or console reads it.
    load_or_create_key(settings.console_key)
    listeners = _listen(settings)
    _fold_what_others_left(settings)
    port = listeners[0].getsockname()[1]
    note(local_url(settings.host, port, encrypted=certificate is not None))
    address = f"http{'s' if certificate else ''}://{_shown_host(settings.host)}:{port}"
    stop = StopFlag()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with contextlib.ExitStack() as open_sockets:
        for listener in listeners:
            open_sockets.enter_context(listener)
        tell = partial(ready, address) if ready else _tell_nobody
        _supervise(settings, listeners, certificate, stop, insecure=insecure, ready=tell, alone=alone, console=console)
    return 0


def _sweep(settings: Settings) -> None:
    """Remove what killed processes left half-written."""
    blobs = settings.blobs_folder
    inside = [path for path in blobs.iterdir() if path.is_dir()] if blobs.is_dir() else []
    own = (settings.home, settings.keys_folder, settings.audit_folder, settings.packages_folder, settings.telemetry_folder)
    sweep_drafts([*own, settings.tls_folder, blobs, *inside])


def _tell_nobody() -> None:
    """Nobody asked to be told."""


def _fold_what_others_left(settings: Settings) -> None:
    """Add up the counters of workers that are gone; another server on this home keeps those of its own."""
    folder = settings.telemetry_folder
    folder.mkdir(exist_ok=True)
    spools = {path.stem: settings.spool_folder / path.stem for path in folder.glob("*-*.json")}
    merge_dead(folder, [boot for boot, spool in spools.items() if not spool.is_dir() or is_writer_dead(spool)])


def _quiet_libraries() -> None:
    """Before they are loaded: no usage reports, and no threads beside those the settings give a model."""
    for name, value in _ENVIRONMENT.items():
        os.environ[name] = value


def _supervise(
    settings: Settings,
    listeners: list[socket.socket],
    certificate: Certificate | None,
    stop: StopFlag,
    *,
    insecure: bool,
    ready: Callable[[], None],
    alone: Callable[[], bool],
    console: socket.socket | None,
) -> None:
    # Loaded once, here, and shared with every child: the command line's other commands do without.
    from relevo.runtime.session import load_onnxruntime
    from relevo.server.background import run_loop
    from relevo.server.worker import run_worker

    load_onnxruntime()
    roll_call = ReadyBarrier(settings.worker_count, ready)
    act = partial(run_worker, settings, certificate=certificate, insecure=insecure, present=roll_call.present)
    port = listeners[0].getsockname()[1]
    everywhere = [*listeners, *([console] if console else [])]
    workers = [ProcessSpec(name="worker", act=_keeping(listener, everywhere, partial(act, listener))) for listener in listeners]
    # Last: what a worker writes until its very end is shipped by the loop's last tick.
    loop = ProcessSpec(name="loop", act=_keeping(None, everywhere, partial(run_loop, settings)), nice=_LOOP_NICENESS, last=True)
    beside = []
    if console:
        show = partial(run_console, settings, console, certificate, port)
        beside.append(ProcessSpec(name="console", act=_keeping(console, everywhere, show)))
    folder = settings.telemetry_folder

    def look() -> None:
        roll_call.look()
        if alone():
            stop.set()

    with contextlib.closing(roll_call):
        Supervisor(
            [*workers, *beside, loop],
            grace_s=settings.shutdown_timeout_s + _GRACE_BEYOND_DRAIN_S,
            died=lambda pid: merge_dead(folder, [path.stem for path in folder.glob(f"{pid}-*.json")]),
            each_look=look,
            # The workers' copies are then the only ones, so nobody is kept waiting at a socket that no one will accept from.
            ending=lambda: _close(listeners),
        ).run(stop)


def _keeping(own: socket.socket | None, everywhere: list[socket.socket], act: Callable[[int], None]) -> Callable[[int], None]:
    """`act` for a child that keeps no listening socket but its own."""

    def begin(life: int) -> None:
        _close([one for one in everywhere if one is not own])
        act(life)

    return begin


def _close(listeners: list[socket.socket]) -> None:
    for one in listeners:
        one.close()


class ReadyBarrier:
    """Hears from every worker once, then says so; lives as long as the server."""

    def __init__(self, expected: int, complete: Callable[[], None]) -> None:
        self._missing = expected
        self._complete = complete
        self._ends = os.pipe()
        os.set_blocking(self._ends[0], False)

    def present(self) -> None:
        """In a worker: it answers now."""
        os.write(self._ends[1], b"r")

    def look(self) -> None:
        """In the supervisor: count who has spoken."""
        if self._missing <= 0:
            return
        with contextlib.suppress(BlockingIOError):
            self._missing -= len(os.read(self._ends[0], 4096))
            if self._missing <= 0:
                self._complete()

    def close(self) -> None:
        """Close the pipe."""
        for end in self._ends:
            os.close(end)


def _migrate_if_reachable(settings: Settings) -> bool:
    """Bring the store up to date. Tells whether there are users; while it is away, nobody is let in who is not remembered."""
    try:
        _refuse_untrusted(settings)
        store = open_store(settings)
        has_users = not store.people.roll().open
        store.engine.dispose()
    except DatabaseSchemaTooNewError:
        raise
    except DatabaseUnavailableError as cause:
        # What was registered before is served from the routes each worker remembers; journals wait.
        log.warning("serving what is known: %s", cause, extra={"action": "store_away"})
        return True
    return has_users


def _refuse_untrusted(settings: Settings) -> None:
    """Look at a database beside which a killed server left its log, before anything brings that log into it.

    In a process of its own, which closes nothing: the last connection that closes checkpoints, whatever it is into.
    Raises DatabaseUnavailableError.
    """
    from relevo.store.db.engine import connect
    from relevo.store.db.identity import DatabaseIdentity
    from relevo.store.db.integrity import DatabaseTrust

    identity = DatabaseIdentity(settings.home, settings.store_url, begins=False)
    trust = DatabaseTrust(connect(settings.store_url, make=False, identity=identity))
    if not trust.is_log_left():
        return
    child = os.fork()
    if child == 0:
        code = 1
        try:
            trust.look()
            code = 0
        except DatabaseUnavailableError as cause:
            trust.note(cause)
        finally:
            os._exit(code)
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
        state = read_state(settings.home)
        raise DatabaseUnavailableError if state is None else error_of(state)


def check_server_exposure(settings: Settings, *, insecure: bool) -> None:
    """Refuse what is refused in any case, before anything is made. Raises ConfigError."""
    parse_trusted_proxies(settings.trusted_proxies)
    oidc_provider(settings)
    if settings.audit_checkpoint_to:
        from relevo.server.checkpoint_export import sender_of

        sender_of(settings)
    may_have_users = bool(settings.database_url) or (settings.home / "relevo.db").exists() or had_users(settings.home)
    check_exposure(settings, users=may_have_users, insecure=insecure)


def check_address(settings: Settings) -> None:
    """See whether the server could listen where it is told to, before long work. Raises ConfigError."""
    _bound(settings, settings.port, shared=False).close()


def _listen(settings: Settings) -> list[socket.socket]:
    """One listening socket a worker, all on one address: the kernel spreads the connections evenly.

    With a single one, the worker that wakes first takes all that wait. The supervisor holds them open, so what comes to a worker
    that just died waits for the next one and is not refused.
    """
    # A shared port could be taken a second time by another server of the same user; this one cannot.
    once_orphans_ended(partial(check_address, settings))
    listeners: list[socket.socket] = []
    for _ in range(settings.worker_count):
        port = listeners[0].getsockname()[1] if listeners else settings.port
        listeners.append(_bound(settings, port, shared=True))
        listeners[-1].listen(_BACKLOG)
    return listeners


def _bound(settings: Settings, port: int, *, shared: bool) -> socket.socket:
    bound = socket.socket(socket.AF_INET6 if ":" in settings.host else socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        bound.bind((settings.host, port))
    except OSError as cause:
        bound.close()
        raise ConfigError(
            reason=f"port {port} of {settings.host} cannot be used ({cause.strerror}); choose another with --port"
        ) from cause
    return bound


def _shown_host(host: str) -> str:
    return f"[{host}]" if ":" in host else host
