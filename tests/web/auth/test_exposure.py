"""Start-up matrix: which protections a server needs, by who can reach it."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from relevo.config import Settings
from relevo.errors import ConfigError
from relevo.web.auth.exposure import check_exposure, is_exposed, missing_protection

_HERE = ["127.0.0.1", "127.8.9.1", "::1", "localhost"]
#: Host names, and address notations that only the operating system parses, may be reachable, too.
_BEYOND = ["0.0.0.0", "::", "192.168.7.7", "fd00::1", "models.example", "127.1", ""]  # noqa: S104 - not listened on
_GUARDS: dict[str, dict[str, Any]] = {
    "": {},
    "auto": {"tls": "auto"},
    "pair": {"tls_cert": "cert.pem", "tls_key": "key.pem"},
    "proxy": {"trusted_proxies": "10.0.0.5"},
}


@pytest.mark.parametrize(("host", "guard", "users"), [*itertools.product(_HERE + _BEYOND, _GUARDS, [False, True])])
def test_who_is_served_where(host: str, guard: str, *, users: bool) -> None:
    """An exposed server needs users and encryption, or --insecure with a warning; a loopback server needs neither."""
    settings = Settings(host=host, **_GUARDS[guard])
    is_safe = (host in _HERE and guard != "proxy") or (users and guard != "")
    if is_safe:
        assert check_exposure(settings, users=users, insecure=False) == ""
        assert check_exposure(settings, users=users, insecure=True) == "", "nothing is dared, so nothing is warned of"
        return
    with pytest.raises(ConfigError, match="--insecure") as refused:
        check_exposure(settings, users=users, insecure=False)
    warning = check_exposure(settings, users=users, insecure=True)
    for told in (str(refused.value), warning):
        assert ("who they are" in told) is not users
        assert ("encrypted" in told) is (guard == "")


def test_a_proxy_in_front_makes_loopback_reachable() -> None:
    """A loopback server behind a proxy is exposed; the error names the missing protection."""
    behind = Settings(trusted_proxies="127.0.0.1")
    assert is_exposed(behind)
    assert not is_exposed(Settings())
    assert missing_protection(behind, users=False) == {"users"}
    assert missing_protection(behind, users=True) == frozenset()
