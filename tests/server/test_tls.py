"""A configured certificate is tested before the start; a self-signed one is created once and replaced in time."""

from __future__ import annotations

import re
import socket
import ssl
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("cryptography", reason="the library that makes certificates is not installed")

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from tests.support.tls import DAY, pair

from relevo.config import Settings
from relevo.errors import ConfigError
from relevo.server.tls import Certificate, TlsContext, certificate_of, pinned_context, self_test

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime.now(UTC)


def asked(tmp_path: Path, **settings: Any) -> Certificate | None:
    """The certificate for these settings."""
    return certificate_of(Settings(home=tmp_path / "home", **settings), NOW)


def own(tmp_path: Path, now: datetime = NOW, **settings: Any) -> Certificate:
    result = certificate_of(Settings(home=tmp_path / "home", tls="auto", **settings), now)
    assert result is not None
    return result


def test_without_the_setting_nothing_is_encrypted(tmp_path: Path) -> None:
    """By default, neither a certificate nor its folder is created."""
    assert asked(tmp_path) is None
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("kind", ["ec", "rsa"])
def test_a_good_pair_is_taken(tmp_path: Path, kind: str) -> None:
    """Fingerprint and expiry are those of the certificate."""
    cert, key = pair(tmp_path, kind=kind)
    result = asked(tmp_path, tls_cert=str(cert), tls_key=str(key))
    assert result is not None
    loaded = x509.load_pem_x509_certificate(cert.read_bytes())
    from cryptography.hazmat.primitives import hashes

    assert result.fingerprint.replace(":", "").lower() == loaded.fingerprint(hashes.SHA256()).hex()
    assert (result.until, result.self_signed) == (loaded.not_valid_after_utc, False)


def test_one_without_the_other_is_refused(tmp_path: Path) -> None:
    """The error names the missing setting."""
    with pytest.raises(ConfigError, match="tls_cert is given without tls_key"):
        asked(tmp_path, tls_cert="cert.pem")
    with pytest.raises(ConfigError, match="tls_key is given without tls_cert"):
        asked(tmp_path, tls_key="key.pem")


def test_an_own_one_and_a_given_one_contradict(tmp_path: Path) -> None:
    """tls=auto together with tls_cert is an error."""
    with pytest.raises(ConfigError, match="choose one of the two"):
        asked(tmp_path, tls="auto", tls_cert="cert.pem", tls_key="key.pem")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """The error names file, setting and reason."""
    cert, key = pair(tmp_path)
    with pytest.raises(ConfigError, match=r"nowhere \(setting tls_cert\) cannot be read: No such file"):
        asked(tmp_path, tls_cert=str(tmp_path / "nowhere"), tls_key=str(key))
    with pytest.raises(ConfigError, match=r"\(setting tls_key\) cannot be read: Is a directory"):
        asked(tmp_path, tls_cert=str(cert), tls_key=str(tmp_path))


def test_files_of_another_kind_are_told(tmp_path: Path) -> None:
    """Swapped and damaged files have different errors."""
    cert, key = pair(tmp_path)
    with pytest.raises(ConfigError, match=r"key.pem \(setting tls_cert\) holds no certificate"):
        asked(tmp_path, tls_cert=str(key), tls_key=str(key))
    with pytest.raises(ConfigError, match=r"cert.pem \(setting tls_key\) holds no private key"):
        asked(tmp_path, tls_cert=str(cert), tls_key=str(cert))
    cert.write_bytes(cert.read_bytes().replace(b"M", b"!"))
    with pytest.raises(ConfigError, match="cannot be read as certificate and key"):
        asked(tmp_path, tls_cert=str(cert), tls_key=str(key))


@pytest.mark.parametrize("kind", ["ec", "rsa"])
def test_a_foreign_key_is_told(tmp_path: Path, kind: str) -> None:
    """A key that does not match the certificate is an error, also one of another type."""
    cert, _ = pair(tmp_path / "one")
    _, key = pair(tmp_path / "other", kind=kind)
    with pytest.raises(ConfigError, match=r"other/key.pem does not belong to the certificate .*one/cert.pem"):
        asked(tmp_path, tls_cert=str(cert), tls_key=str(key))


def test_a_passphrase_is_told(tmp_path: Path) -> None:
    """A key with a passphrase is an error; the start never prompts."""
    cert, key = pair(tmp_path, passphrase=b"secret")
    with pytest.raises(ConfigError, match="has a passphrase"):
        asked(tmp_path, tls_cert=str(cert), tls_key=str(key))


@pytest.mark.parametrize(
    ("made", "told"),
    [
        ({"starts": -9 * DAY, "ends": -DAY}, "has expired"),
        ({"starts": DAY}, "is not valid yet"),
        ({"purpose": ExtendedKeyUsageOID.CLIENT_AUTH}, "purpose"),
    ],
)
def test_a_certificate_no_caller_would_take_is_told(tmp_path: Path, made: dict[str, Any], told: str) -> None:
    """An expired certificate, or one not for servers, is an error."""
    cert, key = pair(tmp_path, **made)
    with pytest.raises(ConfigError, match=f"cert.pem .*{told}"):
        asked(tmp_path, tls_cert=str(cert), tls_key=str(key))


def test_the_own_certificate_is_for_this_host(tmp_path: Path) -> None:
    """Its names, validity and key usage; only its owner can read the key."""
    result = own(tmp_path, host="192.168.7.7")
    loaded = x509.load_pem_x509_certificate(result.cert.read_bytes())
    names = loaded.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {"localhost", socket.gethostname()} <= set(names.get_values_for_type(x509.DNSName))
    assert {"127.0.0.1", "::1", "192.168.7.7"} <= {str(one) for one in names.get_values_for_type(x509.IPAddress)}
    assert not loaded.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert result.self_signed
    assert timedelta(days=365) < result.until - NOW < timedelta(days=398)
    assert result.key.stat().st_mode & 0o777 == 0o600


def test_the_own_certificate_stays_as_long_as_it_serves(tmp_path: Path) -> None:
    """It is reused at every start and on other ports; a new host name needs a new one."""
    first = own(tmp_path)
    assert own(tmp_path, port=9).fingerprint == first.fingerprint
    for_another = own(tmp_path, host="192.168.7.7")
    assert for_another.fingerprint != first.fingerprint
    assert own(tmp_path, host="0.0.0.0").fingerprint == for_another.fingerprint  # noqa: S104 - not listened on


@pytest.mark.parametrize(("days_left", "stays"), [(31, True), (29, False)])
def test_the_own_certificate_is_replaced_near_its_end(tmp_path: Path, days_left: int, stays: bool) -> None:  # noqa: FBT001 - a case
    """Within 30 days of its expiry, the start creates another."""
    created = own(tmp_path, NOW - timedelta(days=397 - days_left))
    assert (own(tmp_path).fingerprint == created.fingerprint) is stays


def test_a_damaged_own_pair_is_made_anew(tmp_path: Path) -> None:
    """A truncated certificate or a missing key is replaced at the start."""
    first = own(tmp_path)
    first.cert.write_bytes(first.cert.read_bytes()[:200])
    second = own(tmp_path)
    second.key.unlink()
    assert len({first.fingerprint, second.fingerprint, own(tmp_path).fingerprint}) == 3


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    """A self-signed key readable by others may be compromised, and is rejected."""
    own(tmp_path).key.chmod(0o640)
    with pytest.raises(ConfigError, match=r"others may read the private key .*key.pem"):
        own(tmp_path)


def test_two_starts_at_once_agree(tmp_path: Path) -> None:
    """Concurrent starts in one home use the same certificate with its key."""
    result: list[str] = []
    starts = [threading.Thread(target=lambda: result.append(own(tmp_path).fingerprint)) for _ in range(8)]
    for one in starts:
        one.start()
    for one in starts:
        one.join()
    assert len(result) == 8
    assert len(set(result)) == 1


def shaken(encryption: TlsContext, trust: ssl.SSLContext, name: str | None) -> bytes:
    """The certificate that a client receives over a real socket."""
    here, there = socket.socketpair()

    def serve() -> None:
        with there, encryption.context.wrap_socket(there, server_side=True) as connection:
            connection.recv(1)

    server = threading.Thread(target=serve)
    server.start()
    with trust.wrap_socket(here, server_hostname=name) as connection:
        seen = connection.getpeercert(binary_form=True)
        connection.send(b"x")
    server.join()
    assert seen is not None
    return seen


@pytest.mark.parametrize("name", ["localhost", None])
def test_renewed_files_need_no_restart(tmp_path: Path, name: str | None, caplog: pytest.LogCaptureFixture) -> None:
    """A renewed pair, also of another key type, is used for the next handshake; a partly written one is not."""
    cert, key = pair(tmp_path, kind="rsa")
    encryption = TlsContext(self_test(cert, key), exposed=False)
    before = shaken(encryption, pinned_context(cert), name)
    old = cert.read_bytes()
    time.sleep(0.01)
    pair(tmp_path / "new", kind="ec")
    cert.write_bytes((tmp_path / "new" / "cert.pem").read_bytes())
    encryption.refresh()
    assert "stays the old one" in caplog.text
    (tmp_path / "old.pem").write_bytes(old)
    assert shaken(encryption, pinned_context(tmp_path / "old.pem"), name) == before
    key.write_bytes((tmp_path / "new" / "key.pem").read_bytes())
    encryption.refresh()
    assert shaken(encryption, pinned_context(cert), name) == ssl.PEM_cert_to_DER_cert(cert.read_text())
    assert encryption.until == self_test(cert, key).until


def test_old_protocols_are_refused(tmp_path: Path) -> None:
    """Protocols below TLS 1.2 are rejected."""
    cert, key = pair(tmp_path)
    encryption = TlsContext(self_test(cert, key), exposed=False)
    assert encryption.context.minimum_version == ssl.TLSVersion.TLSv1_2


def test_browsers_are_told_to_insist_only_where_it_does_no_harm(tmp_path: Path) -> None:
    """HSTS is sent only for an exposed server with a configured certificate, not for localhost or self-signed."""
    given = self_test(*pair(tmp_path))
    assert re.match(r"max-age=\d{8}$", dict(TlsContext(given, exposed=True).headers)["strict-transport-security"])
    assert TlsContext(given, exposed=False).headers == []
    assert TlsContext(own(tmp_path), exposed=True).headers == []
