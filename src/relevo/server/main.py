"""Runs a whole server: listening sockets, supervisor, workers, console and background process.

serve ─► lock ─► migrate ─► listen ─► supervisor ─┬► worker × n     one byte each through the ready barrier ─► ready(url)
                                                  ├► console, with --console
                                                  └► background

A child closes every listening socket except its own. Otherwise a child that outlives the others would keep accepting connections
that no process answers.
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
from relevo.server.home import had_users, make_home
from relevo.server.instance_lock import hold_instance_lock, once_orphans_ended
from relevo.server.oidc import oidc_provider
from relevo.server.stores import open_store, utc_now
from relevo.server.supervisor import ProcessSpec, Supervisor
from relevo.server.tls import certificate_of
from relevo.store.db.identity import error_of, read_state
from relevo.store.files.key_files import load_or_create_key
from relevo.telemetry import merge_dead
from relevo.util.files import sweep_drafts
from relevo.util.proxy_headers import parse_trusted_proxies
from relevo.util.stop_flag import StopFlag
from relevo.web.auth.exposure import check_exposure

if TYPE_CHECKING:
    from collections.abc import Callable

    from relevo.config import Settings
    from relevo.server.tls import Certificate

log = logging.getLogger(__name__)

_GRACE_AFTER_DRAIN_S = 3.0
#: Lower priority than the workers, so that shipping never delays a request.
_BACKGROUND_NICENESS = 5
_BACKLOG = 1024
#: For this process and all its children.
_ENVIRONMENT = {"ORT_DISABLE_TELEMETRY": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def serve(
    settings: Settings,
    *,
    insecure: bool = False,
    ready: Callable[[str], None] | None = None,
    warn: Callable[[str], None] = log.warning,
    should_stop: Callable[[], bool] = lambda: False,
    console: socket.socket | None = None,
) -> int:
    """Serves until SIGTERM, Ctrl-C, or until `should_stop` returns true. Returns the exit code.

    insecure: whether the operator accepts an exposed server without users or encryption. ready: called with the URL once every
    worker is ready. warn: called with the risk of an exposed server. console: the socket of the console, if it is wanted.
    Raises ConfigError when it cannot listen, encrypt or use its home, or when the exposure check rejects the settings.
    """
    check_server_exposure(settings, insecure=insecure)
    _configure_libraries()
    # Files of this server and its children are readable by the owner only, because they contain clients' inputs.
    os.umask(0o077)
    make_home(settings)
    with hold_instance_lock(settings.home) as write_address:
        return _serve_locked(
            settings,
            insecure=insecure,
            write_address=write_address,
            ready=ready,
            warn=warn,
            should_stop=should_stop,
            console=console,
        )


def _serve_locked(
    settings: Settings,
    *,
    insecure: bool,
    write_address: Callable[[str], None],
    ready: Callable[[str], None] | None,
    warn: Callable[[str], None],
    should_stop: Callable[[], bool],
    console: socket.socket | None,
) -> int:
    _remove_drafts(settings)
    certificate = certificate_of(settings, utc_now())
    once_orphans_ended(partial(check_address, settings))
    warning = check_exposure(settings, users=_migrate(settings), insecure=insecure)
    if warning:
        warn(warning)
    # Created before the first worker or console reads it.
    load_or_create_key(settings.console_key)
    listeners = _listen(settings)
    _merge_dead_counters(settings)
    port = listeners[0].getsockname()[1]
    write_address(local_url(settings.host, port, encrypted=certificate is not None))
    address = f"http{'s' if certificate else ''}://{_url_host(settings.host)}:{port}"
    stop = StopFlag()
    for signal_number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signal_number, lambda *_: stop.set())
    with contextlib.ExitStack() as open_sockets:
        for listener in listeners:
            open_sockets.enter_context(listener)
        on_ready = partial(ready, address) if ready else lambda: None
        _supervise(
            settings, listeners, certificate, stop, insecure=insecure, ready=on_ready, should_stop=should_stop, console=console
        )
    return 0


def _remove_drafts(settings: Settings) -> None:
    """Removes the partly written files of killed processes."""
    blobs = settings.blobs_folder
    blob_folders = [path for path in blobs.iterdir() if path.is_dir()] if blobs.is_dir() else []
    folders = (settings.home, settings.keys_folder, settings.audit_folder, settings.packages_folder, settings.telemetry_folder)
    sweep_drafts([*folders, settings.tls_folder, blobs, *blob_folders])


def _merge_dead_counters(settings: Settings) -> None:
    """Merges the counters of dead processes, but not those of another live server of this home."""
    folder = settings.telemetry_folder
    folder.mkdir(exist_ok=True)
    journals = {path.stem: settings.spool_folder / path.stem for path in folder.glob("*-*.json")}
    merge_dead(folder, [process for process, journal in journals.items() if not journal.is_dir() or is_writer_dead(journal)])


def _configure_libraries() -> None:
    """Configures libraries before they are imported: no usage reports, no threads beyond intra_op_threads."""
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
    should_stop: Callable[[], bool],
    console: socket.socket | None,
) -> None:
    # Imported once and shared with every child; other commands of the command line do not need them.
    from relevo.runtime.session import load_onnxruntime
    from relevo.server.background import run_loop
    from relevo.server.worker import run_worker

    load_onnxruntime()
    barrier = ReadyBarrier(settings.worker_count, ready)
    run = partial(run_worker, settings, certificate=certificate, insecure=insecure, ready=barrier.signal)
    port = listeners[0].getsockname()[1]
    sockets = [*listeners, *([console] if console else [])]
    workers = [
        ProcessSpec(name="worker", target=_with_own_socket(listener, sockets, partial(run, listener))) for listener in listeners
    ]
    # Last: its final tick ships what the workers write until they exit.
    background = ProcessSpec(
        name="loop", target=_with_own_socket(None, sockets, partial(run_loop, settings)), nice=_BACKGROUND_NICENESS, stop_last=True
    )
    console_specs = []
    if console:
        run_process = partial(run_console, settings, console, certificate, port)
        console_specs.append(ProcessSpec(name="console", target=_with_own_socket(console, sockets, run_process)))
    folder = settings.telemetry_folder

    def poll() -> None:
        barrier.poll()
        if should_stop():
            stop.set()

    with contextlib.closing(barrier):
        Supervisor(
            [*workers, *console_specs, background],
            grace_s=settings.shutdown_timeout_s + _GRACE_AFTER_DRAIN_S,
            died=lambda pid: merge_dead(folder, [path.stem for path in folder.glob(f"{pid}-*.json")]),
            each_look=poll,
            # Then only the workers hold the sockets, so that no connection waits on a socket that no process accepts from.
            ending=lambda: _close(listeners),
        ).run(stop)


def _with_own_socket(own: socket.socket | None, sockets: list[socket.socket], act: Callable[[int], None]) -> Callable[[int], None]:
    """Wraps `act` for a child, which closes every listening socket except its own."""

    def run(parent_pipe: int) -> None:
        _close([listener for listener in sockets if listener is not own])
        act(parent_pipe)

    return run


def _close(listeners: list[socket.socket]) -> None:
    for listener in listeners:
        listener.close()


class ReadyBarrier:
    """Calls `complete` when every worker has signalled once. Lifetime: the server."""

    def __init__(self, expected: int, complete: Callable[[], None]) -> None:
        self._missing = expected
        self._complete = complete
        self._ends = os.pipe()
        os.set_blocking(self._ends[0], False)

    def signal(self) -> None:
        """In a worker: reports that it accepts requests."""
        os.write(self._ends[1], b"r")

    def poll(self) -> None:
        """In the supervisor: counts the received signals."""
        if self._missing <= 0:
            return
        with contextlib.suppress(BlockingIOError):
            self._missing -= len(os.read(self._ends[0], 4096))
            if self._missing <= 0:
                self._complete()

    def close(self) -> None:
        """Closes the pipe."""
        for end in self._ends:
            os.close(end)


def _migrate(settings: Settings) -> bool:
    """Migrates the database. Returns whether there are users; true while it is unavailable, so that access stays restricted."""
    try:
        _check_trust(settings)
        store = open_store(settings)
        has_users = not store.users.access_snapshot().no_users
        store.engine.dispose()
    except DatabaseSchemaTooNewError:
        raise
    except DatabaseUnavailableError as cause:
        # Registered models are served from the cached routes; the journals wait.
        log.warning("serving what is known: %s", cause, extra={"action": "store_away"})
        return True
    return has_users


def _check_trust(settings: Settings) -> None:
    """Checks a database whose WAL a killed server left behind, before any connection writes that WAL into the database.

    Runs in a child process that exits without closing its connection, because the last connection to close checkpoints the WAL
    into the file, whatever that file is. Raises DatabaseUnavailableError.
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
            trust.poll()
            code = 0
        except DatabaseUnavailableError as cause:
            trust.note(cause)
        finally:
            os._exit(code)
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
        state = read_state(settings.home)
        raise DatabaseUnavailableError if state is None else error_of(state)


def check_server_exposure(settings: Settings, *, insecure: bool) -> None:
    """Rejects settings that never work, before anything is created. Raises ConfigError."""
    parse_trusted_proxies(settings.trusted_proxies)
    oidc_provider(settings)
    if settings.audit_checkpoint_to:
        from relevo.server.checkpoint_export import checkpoint_sender

        checkpoint_sender(settings)
    may_have_users = bool(settings.database_url) or (settings.home / "relevo.db").exists() or had_users(settings.home)
    check_exposure(settings, users=may_have_users, insecure=insecure)


def check_address(settings: Settings) -> None:
    """Checks before long work that the configured port can be bound. Raises ConfigError."""
    _bind(settings, settings.port, shared=False).close()


def _listen(settings: Settings) -> list[socket.socket]:
    """Opens one listening socket per worker on the same address (SO_REUSEPORT): the kernel distributes connections evenly.

    With a single socket, the first worker to wake up accepts all waiting connections. The supervisor keeps the sockets open, so
    connections to a worker that has just died wait for its replacement.
    """
    # Another server of the same user could share this port; an exclusive bind first rejects that.
    once_orphans_ended(partial(check_address, settings))
    listeners: list[socket.socket] = []
    for _ in range(settings.worker_count):
        port = listeners[0].getsockname()[1] if listeners else settings.port
        listeners.append(_bind(settings, port, shared=True))
        listeners[-1].listen(_BACKLOG)
    return listeners


def _bind(settings: Settings, port: int, *, shared: bool) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in settings.host else socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        listener.bind((settings.host, port))
    except OSError as cause:
        listener.close()
        raise ConfigError(
            reason=f"port {port} of {settings.host} cannot be used ({cause.strerror}); choose another with --port"
        ) from cause
    return listener


def _url_host(host: str) -> str:
    return f"[{host}]" if ":" in host else host
