"""Checks at start whether other machines can reach the server, and which protections (users, encryption) it then must have.

    reachable from this machine only ────────────────────────────────────► anonymous access while there are no users
    reachable from others, by host or proxy ─ users and (tls or proxy) ──► requests must authenticate
                                            ├ --insecure ────────────────► warning at each start and in /me
                                            └ otherwise ─────────────────► ConfigError

Pure: a function of the settings and of whether any user exists.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from relevo.errors import ConfigError

if TYPE_CHECKING:
    from relevo.config import Settings


def is_exposed(settings: Settings) -> bool:
    """Whether other machines can send requests: the host is not loopback, or a proxy forwards to this server."""
    return not settings.is_local_only or bool(settings.trusted_proxies)


def missing_protection(settings: Settings, *, users: bool) -> frozenset[str]:
    """The protections that an exposed server lacks: "users", "encryption". users: whether any user exists."""
    if not is_exposed(settings):
        return frozenset()
    missing = {"users": not users, "encryption": not (settings.encrypted or settings.trusted_proxies)}
    return frozenset(name for name, is_missing in missing.items() if is_missing)


def check_exposure(settings: Settings, *, users: bool, insecure: bool) -> str:
    """The warning for this start, "" if nothing is missing. Raises ConfigError if something is missing without --insecure."""
    missing = missing_protection(settings, users=users)
    if not missing:
        return ""
    if not insecure:
        raise ConfigError(reason=_reason(settings.host, missing))
    if missing == {"users"}:
        return "other machines can reach this server, and nobody who calls is asked who they are"
    if missing == {"encryption"}:
        return "other machines can reach this server, and nothing is encrypted"
    return "other machines can reach this server, nothing is encrypted, and nobody who calls is asked who they are"


def _reason(host: str, missing: frozenset[str]) -> str:
    if missing == {"users"}:
        return (
            f"other machines can reach {host}, and nobody who calls would be asked who they are: make the first user "
            "(`relevo user add NAME --role admin`), or accept the risk with --insecure"
        )
    if missing == {"encryption"}:
        return (
            f"other machines can reach {host}, and nothing would be encrypted: choose --tls auto, a certificate with tls_cert "
            "and tls_key, or --trusted-proxies with the addresses of a proxy that encrypts; or accept the risk with --insecure"
        )
    return (
        f"other machines can reach {host}, where nothing would be encrypted (choose --tls auto, or --trusted-proxies with the "
        "addresses of a proxy that encrypts) and nobody asked who they are (make the first user: `relevo user add NAME "
        "--role admin`); or accept both risks with --insecure"
    )
