"""Loads the TLS certificate of the server, tests it with a handshake, and reloads renewed files.

    tls_cert, tls_key ────────────────────────────────┐
    tls = auto ─ in home, for this host, not about    ├─► self_test: a handshake with itself ─┬─► Certificate
                 to expire? ─ no ─► self_signed ──────┘                                       └─► TlsContext, one per worker

Whether to encrypt is decided by the settings. What a client trusts is decided in `relevo.client`.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from relevo.errors import ConfigError
from relevo.util.locks import file_lock

if TYPE_CHECKING:
    from collections.abc import Callable

    from relevo.config import Settings

log = logging.getLogger(__name__)

#: A self-signed certificate is replaced when it expires within this time.
_RENEW_BEFORE = timedelta(days=30)
_MAX_HANDSHAKE_TURNS = 10
#: OpenSSL's reasons for a key that does not match the certificate.
_KEY_MISMATCH = ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED")
_HSTS_MAX_AGE_S = 31_536_000
#: Error numbers of X509_verify_cert(3).
_REASONS = {9: "is not valid yet", 10: "has expired"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """A certificate and its key that passed the self-test. Lifetime: the server."""

    cert: Path
    key: Path
    fingerprint: str  # SHA-256 of the certificate, as browsers show it: AB:CD:…
    until: datetime
    self_signed: bool  # created by this server

    @property
    def summary(self) -> dict[str, object]:
        """File, fingerprint and expiry, for comparison by a person or program."""
        return {"file": str(self.cert), "sha256": self.fingerprint, "until": self.until.isoformat(), "own": self.self_signed}


def certificate_of(settings: Settings, now: datetime) -> Certificate | None:
    """Loads the configured certificate, and creates a self-signed one first with tls=auto; None without TLS.

    now: aware. Raises ConfigError, which names the file and its problem.
    """
    if settings.tls == "auto":
        if settings.tls_cert or settings.tls_key:
            raise ConfigError(
                reason="tls=auto makes a certificate of its own, but tls_cert or tls_key names one; choose one of the two"
            )
        return _load_self_signed(settings, now)
    if not settings.tls_cert and not settings.tls_key:
        return None
    for name, other in (("tls_cert", "tls_key"), ("tls_key", "tls_cert")):
        if not getattr(settings, name):
            raise ConfigError(reason=f"{other} is given without {name}; encryption needs both")
    return self_test(Path(settings.tls_cert), Path(settings.tls_key))


def certificate_path(settings: Settings) -> Path:
    """The path of the certificate that a server with these settings uses."""
    return Path(settings.tls_cert) if settings.tls_cert else settings.tls_folder / "cert.pem"


def _load_self_signed(settings: Settings, now: datetime) -> Certificate:
    try:
        from relevo.server.self_signed import create_pair, is_valid_for
    except ImportError as cause:
        raise ConfigError(reason="tls=auto needs `pip install 'relevo[tls]'`; or give tls_cert and tls_key") from cause
    folder = settings.tls_folder
    cert, key = certificate_path(settings), folder / "key.pem"
    with contextlib.ExitStack() as lock:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            # Two servers of one home must not mix the key of one with the certificate of the other.
            lock.enter_context(file_lock(folder))
        except OSError as cause:
            raise ConfigError(reason=f"the folder {folder} cannot be written ({cause.strerror})") from cause
        if not _has_pair(cert, key) or not is_valid_for(cert, settings.host, now + _RENEW_BEFORE):
            create_pair(cert, key, settings.host, now)
        return self_test(cert, key, self_signed=True)


def _has_pair(cert: Path, key: Path) -> bool:
    if not cert.exists() or not key.exists():
        return False
    if key.stat().st_mode & 0o077:
        raise ConfigError(
            reason=f"others may read the private key {key}; delete it for a new pair, or `chmod 600` it if nobody has read it"
        )
    return True


def self_test(cert: Path, key: Path, *, self_signed: bool = False) -> Certificate:
    """Runs a handshake in memory between both ends, so that a bad certificate is reported at the start, not to the first client.

    Raises ConfigError when a file is missing, unreadable or of another kind, when key and certificate do not match, or when the
    certificate is not valid now.
    """
    server = _context(cert, key).wrap_bio(to_server := ssl.MemoryBIO(), to_client := ssl.MemoryBIO(), server_side=True)
    client = pinned_context(cert).wrap_bio(to_client, to_server)
    try:
        _handshake(client, server)
    except ssl.SSLCertVerificationError as cause:
        problem = _REASONS.get(cause.verify_code, f"cannot be used ({cause.verify_message})")
        raise ConfigError(reason=f"the certificate {cert} {problem}") from cause
    except ssl.SSLError as cause:
        raise ConfigError(reason=f"the certificate {cert} cannot be used ({cause.reason})") from cause
    der, fields = client.getpeercert(binary_form=True), client.getpeercert()
    assert der is not None  # noqa: S101 - narrows: it was just verified
    assert fields is not None  # noqa: S101 - the same
    digest = hashlib.sha256(der).hexdigest().upper()
    return Certificate(
        cert=cert,
        key=key,
        fingerprint=":".join(digest[at : at + 2] for at in range(0, len(digest), 2)),
        until=datetime.fromtimestamp(ssl.cert_time_to_seconds(str(fields["notAfter"])), UTC),
        self_signed=self_signed,
    )


def _handshake(client: ssl.SSLObject, server: ssl.SSLObject) -> None:
    pending = [client, server]
    for turn in range(_MAX_HANDSHAKE_TURNS):
        if not pending:
            return
        side = pending[turn % len(pending)]
        try:
            side.do_handshake()
            pending.remove(side)
        except ssl.SSLWantReadError:
            continue


def pinned_context(cert: Path) -> ssl.SSLContext:
    """The TLS context of a client on this machine: trusts only the server's certificate file, under any host name.

    Raises ConfigError when the file cannot be read.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    try:
        context.load_verify_locations(cert)
    except OSError as cause:
        raise ConfigError(reason=f"the certificate {cert} cannot be read ({cause.strerror or cause})") from cause
    return context


def _context(cert: Path, key: Path) -> ssl.SSLContext:
    """The TLS context of the server. Raises ConfigError."""
    _check_pem(cert, "tls_cert", b"-----BEGIN CERTIFICATE-----", "certificate")
    _check_pem(key, "tls_key", b"PRIVATE KEY-----", "private key")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(cert, key, password=_reject_passphrase(key))
    except ssl.SSLError as cause:
        if str(cause.reason) in _KEY_MISMATCH:
            raise ConfigError(reason=f"the key {key} does not belong to the certificate {cert}") from cause
        raise ConfigError(reason=f"{cert} and {key} cannot be read as certificate and key ({cause.reason or 'damaged'})") from cause
    return context


def _check_pem(path: Path, setting: str, marker: bytes, kind: str) -> None:
    try:
        content = path.read_bytes()
    except OSError as cause:
        raise ConfigError(reason=f"{path} (setting {setting}) cannot be read: {cause.strerror}") from cause
    if marker not in content:
        raise ConfigError(reason=f"{path} (setting {setting}) holds no {kind} in PEM form")


def _reject_passphrase(key: Path) -> Callable[[], str]:
    def password() -> str:
        raise ConfigError(reason=f"the key {key} has a passphrase, and nobody is there to type it; give one without")

    return password


class TlsContext:
    """The TLS configuration of a worker, which reloads renewed files without a restart. Lifetime: the worker."""

    def __init__(self, certificate: Certificate, *, exposed: bool) -> None:
        """exposed: whether other machines can reach the server."""
        self._certificate = certificate
        # Browsers remember HSTS for every port of a host name: for localhost, or with a short-lived self-signed certificate, it
        # would lock the user out of other servers.
        self.headers = (
            [("strict-transport-security", f"max-age={_HSTS_MAX_AGE_S}")] if exposed and not certificate.self_signed else []
        )
        self.until = certificate.until
        self._file_stamps = self._stamps()
        self._current = _context(certificate.cert, certificate.key)
        #: For uvicorn. Every handshake switches to the current context.
        self.context = _context(certificate.cert, certificate.key)
        self.context.sni_callback = self._choose

    def _choose(self, connection: ssl.SSLObject | ssl.SSLSocket, _name: str | None, _context: ssl.SSLContext) -> None:
        connection.context = self._current

    def refresh(self) -> None:
        """Reloads changed files if they pass the self-test; otherwise keeps the current certificate."""
        stamps = self._stamps()
        if stamps == self._file_stamps:
            return
        self._file_stamps = stamps
        try:
            renewed = self_test(self._certificate.cert, self._certificate.key)
            self._current = _context(renewed.cert, renewed.key)
            self.until = renewed.until
        except ConfigError as error:
            log.warning("the certificate stays the old one: %s", error, extra={"action": "certificate_refused"})
        else:
            log.info("the certificate was renewed", extra={"action": "certificate_renewed", "until": renewed.until.isoformat()})

    def _stamps(self) -> list[tuple[int, int] | None]:
        return [_stamp(path) for path in (self._certificate.cert, self._certificate.key)]


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_ino
