"""A certificate that the server makes for itself: this host's names, signed by nobody, its key readable by its owner alone.

    names ─► key (P-256) ─► certificate, a year and a month ─► key.pem 0600, then cert.pem, each whole or not at all

It encrypts, and it proves to who knows its fingerprint or has its file that nobody stands in between. It can sign no other.
"""

from __future__ import annotations

import contextlib
import fcntl
import ipaddress
import os
import socket
from datetime import timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from relevo.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

#: Browsers take none that is valid for longer than 398 days.
_VALID = timedelta(days=397)
#: A caller's clock may be behind.
_CLOCKS_DIFFER = timedelta(hours=1)
_ALWAYS = ("localhost", "127.0.0.1", "::1")
#: And nothing else: no other certificate, for one.
_MAY_SIGN_HANDSHAKES = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=False,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)
#: An address of no machine (RFC 5737): to ask the system by which of ours it would be reached. Nothing is sent.
_ELSEWHERE = ("192.0.2.1", 9)


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Make the folder and hold it: two servers of one home must not leave the key of one beside the certificate of the other."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("w")
    except OSError as cause:
        raise ConfigError(reason=f"the folder {folder} cannot be written ({cause.strerror})") from cause
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def is_good_for(cert: Path, host: str, moment: datetime) -> bool:
    """Whether the certificate still holds at this moment and names the host. A file that is no certificate is not good."""
    try:
        found = x509.load_pem_x509_certificate(cert.read_bytes())
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound):
        return False
    told = {*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))}
    return found.not_valid_after_utc > moment and told >= set(_needed(host))


def make_pair(cert: Path, key: Path, host: str, now: datetime) -> None:
    """Write a new key and a certificate for this host. Raises ConfigError when they cannot be written."""
    body, secret = _made([*_needed(host), *_reached_by(host)], now)
    try:
        _write(key, secret, 0o600)
        _write(cert, body, 0o644)
    except OSError as cause:
        raise ConfigError(reason=f"the certificate {cert} cannot be written ({cause.strerror})") from cause


def _needed(host: str) -> list[str]:
    """Names without which a kept certificate is of no use. The machine's own are not among them: they come and go."""
    return list(dict.fromkeys([*_ALWAYS, *([] if _is_everywhere(host) else [host])]))


def _reached_by(host: str) -> list[str]:
    names = [socket.gethostname()]
    if _is_everywhere(host):
        with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(_ELSEWHERE)
            names.append(probe.getsockname()[0])
    return names


def _is_everywhere(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def _write(path: Path, content: bytes, mode: int) -> None:
    draft = path.with_suffix(f".{os.getpid()}")
    with contextlib.suppress(FileNotFoundError):
        draft.unlink()
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
        os.fchmod(file.fileno(), mode)
        os.fsync(file.fileno())
    draft.replace(path)


def _made(names: list[str], now: datetime) -> tuple[bytes, bytes]:
    """Certificate and key, both PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    made = _described(names, key, now).sign(key, hashes.SHA256())
    secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return made.public_bytes(serialization.Encoding.PEM), secret


def _described(names: list[str], key: ec.EllipticCurvePrivateKey, now: datetime) -> x509.CertificateBuilder:
    who = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Relevo on " + socket.gethostname()[:50])])
    extensions: list[tuple[x509.ExtensionType, bool]] = [
        (x509.SubjectAlternativeName([_general(name) for name in dict.fromkeys(names)]), False),
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (_MAY_SIGN_HANDSHAKES, True),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
        (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), False),
    ]
    builder = x509.CertificateBuilder(subject_name=who, issuer_name=who, public_key=key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - _CLOCKS_DIFFER).not_valid_after(now + _VALID)
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return builder


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
