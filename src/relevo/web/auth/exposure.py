"""From where the server can be reached, and what must stand before others may: who calls is known, and nobody listens in.

    only this machine ───────────────────────────────────────────────────► open while there are no users
    beyond it, by its host or by a proxy ─ users, and tls or a proxy ────► served to those who say who they are
                                         ├ --insecure, said by a person ─► served; warned of at each start, told on /me
                                         └ else ─────────────────────────► ConfigError

Pure: the settings and one fact, whether anybody was ever made a user.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from relevo.errors import ConfigError

if TYPE_CHECKING:
    from relevo.config import Settings


def is_exposed(settings: Settings) -> bool:
    """Whether other machines can ask: the host is one they see, or a proxy passes on what they ask."""
    return not settings.stays_here or bool(settings.trusted_proxies)


def missing_protection(settings: Settings, *, users: bool) -> frozenset[str]:
    """What a server that others can reach is served without: of "users" and "encryption"; users: whether there are any."""
    if not is_exposed(settings):
        return frozenset()
    missing = {"users": not users, "encryption": not (settings.encrypted or settings.trusted_proxies)}
    return frozenset(name for name, is_missing in missing.items() if is_missing)


def check_exposure(settings: Settings, *, users: bool, insecure: bool) -> str:
    """The warning for this start, "" where there is nothing to warn of. Raises ConfigError unless a person said --insecure."""
    missing = missing_protection(settings, users=users)
    if not missing:
        return ""
    if not insecure:
        raise ConfigError(reason=_refusal(settings.host, missing))
    if missing == {"users"}:
        return "other machines can reach this server, and nobody who calls is asked who they are"
    if missing == {"encryption"}:
        return "other machines can reach this server, and nothing is encrypted"
    return "other machines can reach this server, nothing is encrypted, and nobody who calls is asked who they are"


def _refusal(host: str, missing: frozenset[str]) -> str:
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
