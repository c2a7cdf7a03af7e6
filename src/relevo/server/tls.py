"""The server's certificate: a given one, or one of its own; tried on itself before anybody calls.

    tls_cert, tls_key ────────────────────────────────┐
    tls = auto ─ in home, for this host, not near     ├─► rehearse: a handshake with itself ─┬─► Certificate
                 its end? ─ no ─► own_certificate ────┘                                      └─► Encryption, one a worker

Nothing here decides whether to encrypt; that is said by the settings. What a caller trusts is the caller's affair: `relevo.client`.
"""

from __future__ import annotations

import hashlib
import logging
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from relevo.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from relevo.config import Settings

log = logging.getLogger(__name__)

#: An own certificate is replaced when less than this is left of it.
_NEAR_ITS_END = timedelta(days=30)
_TURNS_OF_A_HANDSHAKE = 10
#: What OpenSSL says of a key that fits no certificate, by number or by kind.
_NO_PAIR = ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED")
_A_YEAR_S = 31_536_000
#: What X509_verify_cert(3) calls them.
_REASONS = {9: "is not valid yet", 10: "has expired"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """A certificate and its key that were tried together; lives as long as the server."""

    cert: Path
    key: Path
    fingerprint: str  # SHA-256 of the certificate, as browsers show it: AB:CD:…
    until: datetime
    own: bool  # made by this server and signed by nobody

    @property
    def told(self) -> dict[str, object]:
        """What a person or program compares."""
        return {"file": str(self.cert), "sha256": self.fingerprint, "until": self.until.isoformat(), "own": self.own}


def certificate_of(settings: Settings, now: datetime) -> Certificate | None:
    """The certificate the settings ask for, made first where it is to be the server's own; None when nothing is encrypted.

    now: aware. Raises ConfigError, which names the file and what is wrong with it.
    """
    if settings.tls == "auto":
        if settings.tls_cert or settings.tls_key:
            raise ConfigError(
                reason="tls=auto makes a certificate of its own, but tls_cert or tls_key names one; choose one of the two"
            )
        return _own(settings, now)
    if not settings.tls_cert and not settings.tls_key:
        return None
    for name, other in (("tls_cert", "tls_key"), ("tls_key", "tls_cert")):
        if not getattr(settings, name):
            raise ConfigError(reason=f"{other} is given without {name}; encryption needs both")
    return self_test(Path(settings.tls_cert), Path(settings.tls_key))


def certificate_path(settings: Settings) -> Path:
    """Where the certificate lies that a server with these settings shows."""
    return Path(settings.tls_cert) if settings.tls_cert else settings.tls_folder / "cert.pem"


def _own(settings: Settings, now: datetime) -> Certificate:
    try:
        from relevo.server.self_signed import alone, is_good_for, make_pair
    except ImportError as cause:
        raise ConfigError(reason="tls=auto needs `pip install 'relevo[tls]'`; or give tls_cert and tls_key") from cause
    cert, key = certificate_path(settings), settings.tls_folder / "key.pem"
    with alone(settings.tls_folder):
        if not _is_kept(cert, key) or not is_good_for(cert, settings.host, now + _NEAR_ITS_END):
            make_pair(cert, key, settings.host, now)
        return self_test(cert, key, own=True)


def _is_kept(cert: Path, key: Path) -> bool:
    if not cert.exists() or not key.exists():
        return False
    if key.stat().st_mode & 0o077:
        raise ConfigError(
            reason=f"others may read the private key {key}; delete it for a new pair, or `chmod 600` it if nobody has read it"
        )
    return True


def self_test(cert: Path, key: Path, *, own: bool = False) -> Certificate:
    """Let both ends of a handshake meet in memory, so that what is wrong is said at the start and not to the first caller.

    Raises ConfigError: a file is missing, unreadable or of another kind, they are no pair, or the certificate is out of date.
    """
    server = _context(cert, key).wrap_bio(to_server := ssl.MemoryBIO(), to_client := ssl.MemoryBIO(), server_side=True)
    client = pinned_context(cert).wrap_bio(to_client, to_server)
    try:
        _shake_hands(client, server)
    except ssl.SSLCertVerificationError as cause:
        found = _REASONS.get(cause.verify_code, f"cannot be used ({cause.verify_message})")
        raise ConfigError(reason=f"the certificate {cert} {found}") from cause
    except ssl.SSLError as cause:
        raise ConfigError(reason=f"the certificate {cert} cannot be used ({cause.reason})") from cause
    body, facts = client.getpeercert(binary_form=True), client.getpeercert()
    assert body is not None  # noqa: S101 - narrows: it was just verified
    assert facts is not None  # noqa: S101 - the same
    digest = hashlib.sha256(body).hexdigest().upper()
    return Certificate(
        cert=cert,
        key=key,
        fingerprint=":".join(digest[at : at + 2] for at in range(0, len(digest), 2)),
        until=datetime.fromtimestamp(ssl.cert_time_to_seconds(str(facts["notAfter"])), UTC),
        own=own,
    )


def _shake_hands(client: ssl.SSLObject, server: ssl.SSLObject) -> None:
    waiting = [client, server]
    for turn in range(_TURNS_OF_A_HANDSHAKE):
        if not waiting:
            return
        side = waiting[turn % len(waiting)]
        try:
            side.do_handshake()
            waiting.remove(side)
        except ssl.SSLWantReadError:
            continue


def pinned_context(cert: Path) -> ssl.SSLContext:
    """For a caller on this machine who has the server's file: trusts exactly that, whatever name it was asked by.

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
    """The server's end. Raises ConfigError."""
    _look_into(cert, "tls_cert", b"-----BEGIN CERTIFICATE-----", "certificate")
    _look_into(key, "tls_key", b"PRIVATE KEY-----", "private key")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(cert, key, password=_no_passphrase(key))
    except ssl.SSLError as cause:
        if str(cause.reason) in _NO_PAIR:
            raise ConfigError(reason=f"the key {key} does not belong to the certificate {cert}") from cause
        raise ConfigError(reason=f"{cert} and {key} cannot be read as certificate and key ({cause.reason or 'damaged'})") from cause
    return context


def _look_into(path: Path, setting: str, mark: bytes, what: str) -> None:
    try:
        content = path.read_bytes()
    except OSError as cause:
        raise ConfigError(reason=f"{path} (setting {setting}) cannot be read: {cause.strerror}") from cause
    if mark not in content:
        raise ConfigError(reason=f"{path} (setting {setting}) holds no {what} in PEM form")


def _no_passphrase(key: Path) -> Callable[[], str]:
    def ask() -> str:
        raise ConfigError(reason=f"the key {key} has a passphrase, and nobody is there to type it; give one without")

    return ask


class TlsContext:
    """What handshakes use; lives as long as a worker, and takes renewed files without a restart."""

    def __init__(self, certificate: Certificate, *, outward: bool) -> None:
        """outward: whether other machines can reach the server."""
        self._certificate = certificate
        # A browser keeps this for every port of the name: said for localhost, or on a certificate that may be thrown away
        # tomorrow, it would lock its owner out of other servers.
        self.headers = [("strict-transport-security", f"max-age={_A_YEAR_S}")] if outward and not certificate.own else []
        self.until = certificate.until
        self._seen = self._stamps()
        self._current = _context(certificate.cert, certificate.key)
        #: For uvicorn. Every handshake asks which context is the current one.
        self.context = _context(certificate.cert, certificate.key)
        self.context.sni_callback = self._choose

    def _choose(self, connection: ssl.SSLObject | ssl.SSLSocket, _name: str | None, _context: ssl.SSLContext) -> None:
        connection.context = self._current

    def refresh(self) -> None:
        """Take the files' new content if they changed and are a good pair; else go on with what was good."""
        stamps = self._stamps()
        if stamps == self._seen:
            return
        self._seen = stamps
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
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino
