"""Creates a self-signed certificate for the names of this host; only its owner can read the key.

    names ─► key (P-256) ─► certificate, valid for 397 days ─► key.pem 0600, then cert.pem, each written atomically

A client that has the fingerprint or the file is protected against a man in the middle. The certificate cannot sign others.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from datetime import timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from relevo.errors import ConfigError
from relevo.util.files import write_atomic

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

#: Browsers reject certificates that are valid for longer than 398 days.
_VALIDITY = timedelta(days=397)
#: Tolerance for a client's clock that is behind.
_CLOCK_SKEW = timedelta(hours=1)
_LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
#: Only handshakes; in particular not other certificates.
_KEY_USAGE = x509.KeyUsage(
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
#: A documentation address (RFC 5737), used to find the local address of the default route. Nothing is sent.
_UNUSED_ADDRESS = ("192.0.2.1", 9)


def is_valid_for(cert: Path, host: str, moment: datetime) -> bool:
    """Whether the certificate is valid at this moment and names the host; false for a file that is no certificate."""
    try:
        certificate = x509.load_pem_x509_certificate(cert.read_bytes())
        alternative_names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound):
        return False
    names = {*alternative_names.get_values_for_type(x509.DNSName), *map(str, alternative_names.get_values_for_type(x509.IPAddress))}
    return certificate.not_valid_after_utc > moment and names >= set(_required_names(host))


def create_pair(cert: Path, key: Path, host: str, now: datetime) -> None:
    """Writes a new key and certificate for this host. Raises ConfigError when they cannot be written."""
    cert_pem, key_pem = _create([*_required_names(host), *_machine_names(host)], now)
    try:
        write_atomic({key: key_pem})
        write_atomic({cert: cert_pem}, mode=0o644)
    except OSError as cause:
        raise ConfigError(reason=f"the certificate {cert} cannot be written ({cause.strerror})") from cause


def _required_names(host: str) -> list[str]:
    """Names that an existing certificate must have. Not the names of this machine, because they change."""
    return list(dict.fromkeys([*_LOOPBACK_NAMES, *([] if _is_wildcard(host) else [host])]))


def _machine_names(host: str) -> list[str]:
    names = [socket.gethostname()]
    if _is_wildcard(host):
        with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(_UNUSED_ADDRESS)
            names.append(probe.getsockname()[0])
    return names


def _is_wildcard(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def _create(names: list[str], now: datetime) -> tuple[bytes, bytes]:
    """A new certificate and its key, both PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _builder(names, key, now).sign(key, hashes.SHA256())
    key_pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return certificate.public_bytes(serialization.Encoding.PEM), key_pem


def _builder(names: list[str], key: ec.EllipticCurvePrivateKey, now: datetime) -> x509.CertificateBuilder:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Relevo on " + socket.gethostname()[:50])])
    extensions: list[tuple[x509.ExtensionType, bool]] = [
        (x509.SubjectAlternativeName([_general_name(name) for name in dict.fromkeys(names)]), False),
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (_KEY_USAGE, True),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
        (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), False),
    ]
    builder = x509.CertificateBuilder(subject_name=subject, issuer_name=subject, public_key=key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - _CLOCK_SKEW).not_valid_after(now + _VALIDITY)
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return builder


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
