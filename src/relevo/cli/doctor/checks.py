"""The checks of `relevo doctor`: each looks at one thing and gives one finding.

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
from relevo.cli.doctor.security_checks import safeguards
from relevo.cli.translate import day, fixed, moment, permission_text
from relevo.errors import DatabaseMissingError, DatabaseUnavailableError, RelevoError
from relevo.recording.journal import exchanged_at
from relevo.util.files import look_into

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from relevo.config import Settings

_LEAST_PYTHON = (3, 11)
#: Upserts, RETURNING and the mended WAL checkpoints.
_LEAST_SQLITE = (3, 35, 0)
#: From here on a WAL that is reset while another process writes cannot corrupt the database.
_MENDED_SQLITE = (3, 51, 3)
_LEAST_FREE = 1 << 30
_RENEW_WITHIN = timedelta(days=14)
_EXTRAS = {"sklearn": ("sklearn", "skl2onnx", "onnx", "scipy", "matplotlib"), "postgres": ("psycopg",)}
_FLOOR = re.compile(r"^([A-Za-z0-9._-]+)>=([0-9.]+)")


def examine(settings: Settings) -> list[Finding]:
    """Every check, in the order of a person's questions."""
    return [
        _python(),
        *_libraries(),
        _sqlite(),
        _seen("home", _home, settings),
        _seen("disk", _disk, settings),
        _seen("spool", _spool, settings),
        _seen("database", _database, settings),
        *safeguards(settings),
        _seen("port", _port, settings),
        _seen("tls", _encryption, settings),
        _onnxruntime(),
        _telemetry(),
        *(_extra(name, modules) for name, modules in _EXTRAS.items()),
    ]


def _seen(what: str, check: Callable[[Settings], Finding], settings: Settings) -> Finding:
    """What the check saw, or that this user may not look."""
    try:
        return check(settings)
    except PermissionError as cause:
        return Finding(what=what, verdict="fail", told=permission_text(cause), mend="Run it as its owner, or change its rights.")


def _python() -> Finding:
    told = sys.version.split()[0]
    if sys.version_info >= _LEAST_PYTHON:
        return Finding(what="python", verdict="ok", told=told)
    return Finding(what="python", verdict="fail", told=told, mend="Install Python 3.11 or newer.")


def _libraries() -> Iterator[Finding]:
    low = []
    for requirement in _requirements():
        found = _FLOOR.match(requirement)
        if found is None or "extra ==" in requirement:
            continue
        name, floor = found.groups()
        if not _reaches(name, floor):
            low.append(f"{name}>={floor}")
    if low:
        yield Finding(what="libraries", verdict="fail", told=f"missing or too old: {', '.join(low)}", mend="pip install -U relevo")
    else:
        yield Finding(what="libraries", verdict="ok", told="every version floor is met")


def _requirements() -> list[str]:
    try:
        return requires("relevo") or []
    except PackageNotFoundError:
        # Run from a checkout that was not installed.
        return []


def _reaches(name: str, floor: str) -> bool:
    try:
        return _numbers(version(name)) >= _numbers(floor)
    except PackageNotFoundError:
        return False


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])


def _sqlite() -> Finding:
    told = sqlite3.sqlite_version
    if sqlite3.sqlite_version_info < _LEAST_SQLITE:
        return Finding(what="sqlite", verdict="fail", told=told, mend="Use a Python that is linked with SQLite 3.35 or newer.")
    if sqlite3.sqlite_version_info < _MENDED_SQLITE:
        return Finding(
            what="sqlite",
            verdict="warn",
            told=f"{told}, older than 3.51.3, which mended a rare race of checkpoints",
            mend="Relevo works around it: one process alone checkpoints. A newer SQLite is better still.",
        )
    return Finding(what="sqlite", verdict="ok", told=told)


#: Write permission of the group and of everybody.
_OF_OTHERS = 0o022


def _home(settings: Settings) -> Finding:
    look_into(settings.home)
    told = str(settings.home.resolve())
    if settings.home.is_dir() and settings.home.stat().st_mode & _OF_OTHERS:
        mend = f"Whoever may write in it may put another database or key in the place of yours: chmod go-w {told}"
        return Finding(what="home", verdict="warn", told=f"others than its owner may write in {told}", mend=mend)
    try:
        with tempfile.TemporaryFile(dir=_existing(settings.home)):
            return Finding(what="home", verdict="ok", told=f"{told} can be written")
    except OSError as cause:
        return Finding(
            what="home",
            verdict="fail",
            told=f"{told} cannot be written: {cause.strerror}",
            mend="Choose another --home, or mend its rights.",
        )


def _disk(settings: Settings) -> Finding:
    free = shutil.disk_usage(_existing(settings.home)).free
    told = f"{fixed(free / (1 << 30), 1)} GiB free"
    needed = max(_LEAST_FREE, settings.spool_max_mb << 20)
    if free >= needed:
        return Finding(what="disk", verdict="ok", told=told)
    return Finding(
        what="disk",
        verdict="warn",
        told=told,
        mend="Free some: journals alone may take spool_max_mb before predictions are refused.",
    )


def _spool(settings: Settings) -> Finding:
    folder = settings.spool_folder
    look_into(folder)
    files = [path for path in folder.rglob("*") if path.is_file()] if folder.is_dir() else []
    size = sum(path.stat().st_size for path in files)
    told = f"{len(files)} files, {fixed(size / (1 << 20), 1)} MiB"
    if size <= (settings.spool_max_mb << 20) // 2:
        return Finding(what="spool", verdict="ok", told=told)
    return Finding(
        what="spool", verdict="warn", told=told, mend="Is the database away? Journals are shipped while `relevo serve` runs."
    )


def _database(settings: Settings) -> Finding:
    from relevo import server
    from relevo.store.db.engine import check_integrity

    look_into(settings.home)
    none_yet = Finding(what="database", verdict="ok", told="none yet; the first command that needs it makes it")
    known = (settings.home / "database.json").exists()
    if not settings.database_url and not known and not (settings.home / "relevo.db").exists():
        return none_yet
    try:
        store = server.open_store(settings, begins=False)
        found = store.registry.models()
        check_integrity(store.engine)
        store.engine.dispose()
    except DatabaseMissingError as error:
        if not known:
            return none_yet
        mend = "If it is lost for good: remove database.json from the home, and the next start begins an empty one."
        return Finding(what="database", verdict="fail", told=str(error), mend=mend)
    except RelevoError as error:
        plain = error.code == DatabaseUnavailableError.code
        mend = "Check the setting database_url and that it runs." if plain else "As it says; the rest works without it."
        return Finding(what="database", verdict="fail", told=str(error), mend=mend)
    exchanged = exchanged_at(settings.spool_folder)
    if exchanged is not None:
        return Finding(
            what="database",
            verdict="warn",
            told=f"its file was exchanged, perhaps for an older state: {moment(datetime.fromtimestamp(exchanged, UTC))}",
            mend="Shipped journals are kept for a day from then; a newer relevo.db put back within it gets their rows too.",
        )
    return Finding(what="database", verdict="ok", told=f"reachable; models registered: {len(found)}")


def _port(settings: Settings) -> Finding:
    from relevo import server

    told = f"{settings.host}:{settings.port}"
    elsewhere = server.other_address(settings) if settings.port else ""
    if elsewhere:
        mend = "Other commands do not see the flags of `relevo serve`; write them into relevo.toml."
        return Finding(what="port", verdict="warn", told=f"{told}, but this home's server answers at {elsewhere}", mend=mend)
    try:
        kind = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0]
        with socket.socket(kind[0], kind[1]) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(kind[4])
    except OSError as cause:
        if _is_ours(settings):
            return Finding(what="port", verdict="ok", told=f"{told}: a Relevo server answers there")
        mend = "Stop what listens there, or choose another --port."
        why = cause.strerror or "not an address here"
        return Finding(what="port", verdict="warn", told=f"{told} cannot be used: {why}", mend=mend)
    return Finding(what="port", verdict="ok", told=f"{told} is free")


def _is_ours(settings: Settings) -> bool:
    """Whether what listens there answers as a live Relevo does."""
    import httpx

    url = f"http{'s' if settings.encrypted else ''}://{settings.host}:{settings.port}/health/live"
    try:
        # A sign of life, and nothing told: whose certificate it shows does not matter here.
        answer = httpx.get(url, timeout=2, trust_env=False, verify=False)  # noqa: S501 - see above
    except httpx.HTTPError:
        return False
    return answer.status_code == httpx.codes.OK and '"live"' in answer.text


def _encryption(settings: Settings) -> Finding:
    from relevo import server

    if not settings.encrypted:
        return Finding(what="tls", verdict="ok", told="off: http only")
    if settings.tls == "auto" and not server.certificate_path(settings).exists():
        return Finding(what="tls", verdict="ok", told="auto: `relevo serve` makes the certificate at its first start")
    now = server.utc_now()
    try:
        found = server.certificate_of(settings, now)
    except RelevoError as error:
        return Finding(what="tls", verdict="fail", told=str(error), mend="Give another pair, or --tls auto.")
    assert found is not None  # noqa: S101 - narrows: it is asked for
    told = f"{found.cert} until {day(found.until)}"
    if found.until - now < _RENEW_WITHIN:
        return Finding(what="tls", verdict="warn", told=told, mend="Renew it; running servers take the new files by themselves.")
    return Finding(what="tls", verdict="ok", told=told)


def _onnxruntime() -> Finding:
    from relevo.runtime.session import load_onnxruntime

    try:
        library = load_onnxruntime()
    except ImportError as cause:
        return Finding(
            what="onnxruntime", verdict="fail", told=type(cause).__name__, mend="pip install --force-reinstall onnxruntime"
        )
    return Finding(what="onnxruntime", verdict="ok", told=f"{library.__version__} loads")


def _telemetry() -> Finding:
    if os.environ.get("ORT_DISABLE_TELEMETRY") == "1":
        return Finding(what="telemetry", verdict="ok", told="off: nothing leaves this machine")
    mend = "Set ORT_DISABLE_TELEMETRY=1 before Python starts."
    return Finding(what="telemetry", verdict="fail", told="ONNX Runtime may report its use", mend=mend)


def _extra(name: str, modules: tuple[str, ...]) -> Finding:
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    if not missing:
        return Finding(what=name, verdict="ok", told="extra is installed")
    told = "extra is not installed" if len(missing) == len(modules) else f"extra lacks {', '.join(missing)}"
    return Finding(what=name, verdict="warn", told=told, mend=f"If you need it: pip install 'relevo[{name}]'")


def _existing(folder: Path) -> Path:
    """The folder, or the nearest above it that is there."""
    place = folder.resolve()
    while not place.exists():
        place = place.parent
    return place
