"""Runs the checks of `relevo doctor`; each check returns one finding.

settings ─► python · libraries · sqlite · home · disk · spool · database · audit · sealing · port · tls
            · onnxruntime · telemetry · extras ─► findings
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import socket
import sqlite3
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from importlib.metadata import PackageNotFoundError, requires, version
from typing import TYPE_CHECKING

from relevo.cli.doctor.finding import Finding
from relevo.cli.doctor.security_checks import security_checks
from relevo.cli.translate import day, fixed, moment, permission_text
from relevo.errors import DatabaseMissingError, DatabaseUnavailableError, RelevoError
from relevo.recording.journal import exchanged_at
from relevo.util.files import check_readable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from relevo.config import Settings

_MIN_PYTHON = (3, 11)
#: First version with upserts and RETURNING.
_MIN_SQLITE = (3, 35, 0)
#: First version in which a WAL reset during another process's write cannot corrupt the database.
_WAL_FIX_SQLITE = (3, 51, 3)
_MIN_FREE_BYTES = 1 << 30
_RENEW_WITHIN = timedelta(days=14)
_EXTRAS = {"sklearn": ("sklearn", "skl2onnx", "onnx", "scipy", "matplotlib"), "postgres": ("psycopg",)}
_REQUIREMENT = re.compile(r"^([A-Za-z0-9._-]+)>=([0-9.]+)")


def examine(settings: Settings) -> list[Finding]:
    """Runs all checks, in the order of the output."""
    return [
        _python(),
        *_libraries(),
        _sqlite(),
        _check("home", _home, settings),
        _check("disk", _disk, settings),
        _check("spool", _spool, settings),
        _check("database", _database, settings),
        *security_checks(settings),
        _check("port", _port, settings),
        _check("tls", _encryption, settings),
        _onnxruntime(),
        _telemetry(),
        *(_extra(name, modules) for name, modules in _EXTRAS.items()),
    ]


def _check(name: str, check: Callable[[Settings], Finding], settings: Settings) -> Finding:
    """Runs a check; a PermissionError becomes a finding."""
    try:
        return check(settings)
    except PermissionError as cause:
        return Finding(
            subject=name, verdict="fail", message=permission_text(cause), suggestion="Run it as its owner, or change its rights."
        )


def _python() -> Finding:
    detail = sys.version.split()[0]
    if sys.version_info >= _MIN_PYTHON:
        return Finding(subject="python", verdict="ok", message=detail)
    return Finding(subject="python", verdict="fail", message=detail, suggestion="Install Python 3.11 or newer.")


def _libraries() -> Iterator[Finding]:
    outdated = []
    for requirement in _requirements():
        match = _REQUIREMENT.match(requirement)
        if match is None or "extra ==" in requirement:
            continue
        name, minimum = match.groups()
        if not _has_version(name, minimum):
            outdated.append(f"{name}>={minimum}")
    if outdated:
        yield Finding(
            subject="libraries",
            verdict="fail",
            message=f"missing or too old: {', '.join(outdated)}",
            suggestion="pip install -U relevo",
        )
    else:
        yield Finding(subject="libraries", verdict="ok", message="every version floor is met")


def _requirements() -> list[str]:
    try:
        return requires("relevo") or []
    except PackageNotFoundError:
        # Run from a checkout that is not installed.
        return []


def _has_version(name: str, minimum: str) -> bool:
    try:
        return _version_numbers(version(name)) >= _version_numbers(minimum)
    except PackageNotFoundError:
        return False


def _version_numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])


def _sqlite() -> Finding:
    detail = sqlite3.sqlite_version
    if sqlite3.sqlite_version_info < _MIN_SQLITE:
        return Finding(
            subject="sqlite", verdict="fail", message=detail, suggestion="Use a Python that is linked with SQLite 3.35 or newer."
        )
    if sqlite3.sqlite_version_info < _WAL_FIX_SQLITE:
        return Finding(
            subject="sqlite",
            verdict="warn",
            message=f"{detail}, older than 3.51.3, which mended a rare race of checkpoints",
            suggestion="Relevo works around it: one process alone checkpoints. A newer SQLite is better still.",
        )
    return Finding(subject="sqlite", verdict="ok", message=detail)


#: Write permission bits of group and others.
_WRITABLE_BY_OTHERS = 0o022


def _home(settings: Settings) -> Finding:
    check_readable(settings.home)
    detail = str(settings.home.resolve())
    if settings.home.is_dir() and settings.home.stat().st_mode & _WRITABLE_BY_OTHERS:
        mend = f"Whoever may write in it may put another database or key in the place of yours: chmod go-w {detail}"
        return Finding(subject="home", verdict="warn", message=f"others than its owner may write in {detail}", suggestion=mend)
    try:
        with tempfile.TemporaryFile(dir=_nearest_existing(settings.home)):
            return Finding(subject="home", verdict="ok", message=f"{detail} can be written")
    except OSError as cause:
        return Finding(
            subject="home",
            verdict="fail",
            message=f"{detail} cannot be written: {cause.strerror}",
            suggestion="Choose another --home, or mend its rights.",
        )


def _disk(settings: Settings) -> Finding:
    free = shutil.disk_usage(_nearest_existing(settings.home)).free
    detail = f"{fixed(free / (1 << 30), 1)} GiB free"
    needed = max(_MIN_FREE_BYTES, settings.spool_max_mb << 20)
    if free >= needed:
        return Finding(subject="disk", verdict="ok", message=detail)
    return Finding(
        subject="disk",
        verdict="warn",
        message=detail,
        suggestion="Free some: journals alone may take spool_max_mb before predictions are refused.",
    )


def _spool(settings: Settings) -> Finding:
    folder = settings.spool_folder
    check_readable(folder)
    files = [path for path in folder.rglob("*") if path.is_file()] if folder.is_dir() else []
    size = sum(path.stat().st_size for path in files)
    detail = f"{len(files)} files, {fixed(size / (1 << 20), 1)} MiB"
    if size <= (settings.spool_max_mb << 20) // 2:
        return Finding(subject="spool", verdict="ok", message=detail)
    return Finding(
        subject="spool",
        verdict="warn",
        message=detail,
        suggestion="Is the database away? Journals are shipped while `relevo serve` runs.",
    )


def _database(settings: Settings) -> Finding:
    from relevo import server
    from relevo.store.db.engine import check_integrity

    check_readable(settings.home)
    not_created = Finding(subject="database", verdict="ok", message="none yet; the first command that needs it makes it")
    is_known = (settings.home / "database.json").exists()
    if not settings.database_url and not is_known and not (settings.home / "relevo.db").exists():
        return not_created
    try:
        store = server.open_store(settings, begins=False)
        models = store.registry.models()
        check_integrity(store.engine)
        store.engine.dispose()
    except DatabaseMissingError as error:
        if not is_known:
            return not_created
        mend = "If it is lost for good: remove database.json from the home, and the next start begins an empty one."
        return Finding(subject="database", verdict="fail", message=str(error), suggestion=mend)
    except RelevoError as error:
        is_unavailable = error.code == DatabaseUnavailableError.code
        mend = "Check the setting database_url and that it runs." if is_unavailable else "As it says; the rest works without it."
        return Finding(subject="database", verdict="fail", message=str(error), suggestion=mend)
    replaced_at = exchanged_at(settings.spool_folder)
    if replaced_at is not None:
        return Finding(
            subject="database",
            verdict="warn",
            message=f"its file was exchanged, perhaps for an older state: {moment(datetime.fromtimestamp(replaced_at, UTC))}",
            suggestion="Shipped journals are kept for a day from then; a newer relevo.db put back within it gets their rows too.",
        )
    return Finding(subject="database", verdict="ok", message=f"reachable; models registered: {len(models)}")


def _port(settings: Settings) -> Finding:
    from relevo import server

    detail = f"{settings.host}:{settings.port}"
    other_url = server.other_address(settings) if settings.port else ""
    if other_url:
        mend = "Other commands do not see the flags of `relevo serve`; write them into relevo.toml."
        return Finding(
            subject="port", verdict="warn", message=f"{detail}, but this home's server answers at {other_url}", suggestion=mend
        )
    try:
        address_info = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0]
        with socket.socket(address_info[0], address_info[1]) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address_info[4])
    except OSError as cause:
        if _is_relevo(settings):
            return Finding(subject="port", verdict="ok", message=f"{detail}: a Relevo server answers there")
        mend = "Stop what listens there, or choose another --port."
        reason = cause.strerror or "not an address here"
        return Finding(subject="port", verdict="warn", message=f"{detail} cannot be used: {reason}", suggestion=mend)
    return Finding(subject="port", verdict="ok", message=f"{detail} is free")


def _is_relevo(settings: Settings) -> bool:
    """Whether a live Relevo server answers at the configured address."""
    import httpx

    url = f"http{'s' if settings.encrypted else ''}://{settings.host}:{settings.port}/health/live"
    try:
        # Sends nothing secret, so the certificate need not be verified.
        response = httpx.get(url, timeout=2, trust_env=False, verify=False)  # noqa: S501 - see above
    except httpx.HTTPError:
        return False
    return response.status_code == httpx.codes.OK and '"live"' in response.text


def _encryption(settings: Settings) -> Finding:
    from relevo import server

    if not settings.encrypted:
        return Finding(subject="tls", verdict="ok", message="off: http only")
    if settings.tls == "auto" and not server.certificate_path(settings).exists():
        return Finding(subject="tls", verdict="ok", message="auto: `relevo serve` makes the certificate at its first start")
    now = server.utc_now()
    try:
        certificate = server.certificate_of(settings, now)
    except RelevoError as error:
        return Finding(subject="tls", verdict="fail", message=str(error), suggestion="Give another pair, or --tls auto.")
    assert certificate is not None  # noqa: S101 - narrows: settings.encrypted is true
    detail = f"{certificate.cert} until {day(certificate.until)}"
    if certificate.until - now < _RENEW_WITHIN:
        return Finding(
            subject="tls", verdict="warn", message=detail, suggestion="Renew it; running servers take the new files by themselves."
        )
    return Finding(subject="tls", verdict="ok", message=detail)


def _onnxruntime() -> Finding:
    from relevo.runtime.session import load_onnxruntime

    try:
        library = load_onnxruntime()
    except ImportError as cause:
        return Finding(
            subject="onnxruntime",
            verdict="fail",
            message=type(cause).__name__,
            suggestion="pip install --force-reinstall onnxruntime",
        )
    return Finding(subject="onnxruntime", verdict="ok", message=f"{library.__version__} loads")


def _telemetry() -> Finding:
    if os.environ.get("ORT_DISABLE_TELEMETRY") == "1":
        return Finding(subject="telemetry", verdict="ok", message="off: nothing leaves this machine")
    mend = "Set ORT_DISABLE_TELEMETRY=1 before Python starts."
    return Finding(subject="telemetry", verdict="fail", message="ONNX Runtime may report its use", suggestion=mend)


def _extra(name: str, modules: tuple[str, ...]) -> Finding:
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    if not missing:
        return Finding(subject=name, verdict="ok", message="extra is installed")
    detail = "extra is not installed" if len(missing) == len(modules) else f"extra lacks {', '.join(missing)}"
    return Finding(subject=name, verdict="warn", message=detail, suggestion=f"If you need it: pip install 'relevo[{name}]'")


def _nearest_existing(folder: Path) -> Path:
    """The folder, or its nearest existing parent."""
    path = folder.resolve()
    while not path.exists():
        path = path.parent
    return path
