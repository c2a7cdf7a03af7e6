"""Saves audit checkpoints in the home, and exports them out of reach of an attacker on this machine: to another disk or server.

poll ─ new checkpoint? ─┬ audit_checkpoint_to is a file ─► appended, as in heads.jsonl: `relevo audit verify --heads FILE`
                        └ a URL ─ Webhook ────► POST {"head": "12:3fa9…", "sequence": 12, "mac": "3fa9…", …}

    url ─ https, or an allowed host ─ resolved once ─ every address public, or allowed ─► POST to that address, with that host name
                                                                                         └ no redirect, no proxy, bounded time

A failed export is logged and retried later. Only the newest checkpoint is sent, because it covers all entries before it.
The host name is resolved once per request and the address is reused, which prevents DNS rebinding (and with it SSRF).
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import os
import socket
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

from relevo.errors import ConfigError, RelevoError, UnavailableError
from relevo.store.audit.checkpoints import Checkpoints, add_head, head_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from relevo.config import Settings
    from relevo.store.audit.checkpoints import Checkpoint
    from relevo.store.audit.log import AuditLog
    from relevo.store.audit.reader import AuditReader

log = logging.getLogger(__name__)

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_RETRY_DELAY_S = 30.0
_TIMEOUT_S = 10.0
#: NAT64: the last 32 bits are an IPv4 address (RFC 6052).
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


def checkpoint_writer(settings: Settings, reader: AuditReader, audit: AuditLog) -> Callable[[], None]:
    """Returns a function that saves a new audit checkpoint. It never raises, because the change itself is already committed."""
    checkpoints = Checkpoints(settings.audit_folder, reader, audit)
    last_error = ""

    def save() -> None:
        nonlocal last_error
        try:
            checkpoints.update(_utc_now())
            last_error = ""
        except (OSError, RelevoError) as cause:
            if str(cause) != last_error:
                last_error = str(cause)
                log.warning("the head of the audit was not written down: %s", last_error, extra={"action": "audit.heads"})

    return save


def checkpoint_exporter(settings: Settings, reader: AuditReader, audit: AuditLog) -> Callable[[], None]:
    """Returns a function that sends a new audit checkpoint to audit_checkpoint_to; it never raises. Raises ConfigError."""
    if not settings.audit_checkpoint_to:
        return lambda: None
    send = checkpoint_sender(settings)
    return CheckpointExporter(send, reader, audit, now=_utc_now).poll if send else lambda: None


def checkpoint_sender(settings: Settings) -> Callable[[Checkpoint], None] | None:
    """Returns a function that exports a checkpoint; None when audit_checkpoint_to is empty. Raises ConfigError."""
    target = settings.audit_checkpoint_to
    if not target:
        return None
    if "://" not in target:
        return lambda checkpoint: add_head(Path(target), checkpoint)
    webhook = Webhook(target, settings.audit_head_allowed)

    def post(checkpoint: Checkpoint) -> None:
        body = {"head": f"{checkpoint.sequence}:{checkpoint.mac}", **msgspec.to_builtins(checkpoint)}
        webhook.post(msgspec.json.encode(body))

    return post


class CheckpointExporter:
    """Exports each new checkpoint. Lifetime: the process. Never raises, because the change itself is already committed."""

    def __init__(
        self,
        send: Callable[[Checkpoint], None],
        reader: AuditReader,
        audit: AuditLog,
        *,
        now: Callable[[], datetime],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._send = send
        self._trail = reader
        self._audit = audit
        self._now = now
        self._monotonic = monotonic
        self._last_seal = ""
        self._retry_at = float("-inf")

    def poll(self) -> None:
        """Exports the latest checkpoint if it is new."""
        if self._monotonic() < self._retry_at:
            return
        try:
            link = self._trail.last_entry()
            if link is not None and link.mac != self._last_seal:
                self._send(head_of(self._audit, link, self._now()))
                self._last_seal = link.mac
        except (OSError, RelevoError) as cause:
            self._retry_at = self._monotonic() + _RETRY_DELAY_S
            reason = os.strerror(cause.errno) if isinstance(cause, OSError) and cause.errno else str(cause)
            log.warning("the head of the audit was not sent elsewhere: %s", reason, extra={"action": "audit.head_to"})


def _utc_now() -> datetime:
    return datetime.now(UTC)


def resolve(host: str, port: int) -> list[Address]:
    """All addresses of a host. Raises OSError."""
    infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [ipaddress.ip_address(str(info[4][0]).partition("%")[0]) for info in infos]


class Webhook:
    """One URL that receives JSON. Lifetime: the process."""

    def __init__(
        self,
        url: str,
        allowed: str = "",
        *,
        resolver: Callable[[str, int], list[Address]] = resolve,
        timeout_s: float = _TIMEOUT_S,
    ) -> None:
        """allowed: comma-separated hosts and networks that may be private or use plain http. Raises ConfigError."""
        parts = urlsplit(url)
        try:
            port = parts.port
        except ValueError:
            port = 0
        entries = [entry.strip().lower() for entry in allowed.split(",") if entry.strip()]
        self._host = (parts.hostname or "").rstrip(".")
        self._networks = [network for entry in entries if (network := _network(entry)) is not None]
        self._is_host_allowed = self._host in entries
        if parts.scheme not in {"http", "https"} or not self._host or port == 0 or parts.username is not None:
            raise ConfigError(reason="audit_checkpoint_to is neither a file nor an address like https://host/path")
        self._is_https = parts.scheme == "https"
        self._port = port or (443 if self._is_https else 80)
        self._host_header = parts.netloc
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._resolve = resolver
        self._timeout_s = timeout_s

    def post(self, body: bytes) -> None:
        """Sends JSON and waits for a 2xx status. Raises UnavailableError, whose message does not contain the address."""
        import httpx

        try:
            addresses = self._resolve(self._host, self._port)
        except (OSError, UnicodeError) as cause:
            raise UnavailableError.with_message("its name leads nowhere") from cause
        if not addresses or not all(self._is_permitted(address) for address in addresses):
            raise UnavailableError.with_message(
                "it is a private address, or not of the internet, and is not listed in audit_head_allowed"
            )
        if not self._is_https and not all(self._is_allowed(address) for address in addresses):
            raise UnavailableError.with_message("it does not encrypt, and is not listed in audit_head_allowed")
        try:
            status = asyncio.run(self._send(addresses[0], body))
        except TimeoutError as cause:
            raise UnavailableError.with_message("it did not answer in time") from cause
        except httpx.HTTPError as cause:
            raise UnavailableError.with_message("it cannot be reached, or its certificate is not trusted") from cause
        if not 200 <= status < 300:
            raise UnavailableError.with_message(f"it answered with status {status}")

    async def _send(self, address: Address, body: bytes) -> int:
        # Loaded only where a URL is configured: every command imports this module.
        import httpx

        host = f"[{address}]" if address.version == 6 else str(address)
        url = f"{'https' if self._is_https else 'http'}://{host}:{self._port}{self._path}"
        headers = {"host": self._host_header, "content-type": "application/json"}
        # httpx limits the time of each read, not of the whole response.
        async with asyncio.timeout(self._timeout_s), httpx.AsyncClient(trust_env=False, timeout=self._timeout_s) as client:
            extensions = {"sni_hostname": self._host}
            async with client.stream("POST", url, content=body, headers=headers, extensions=extensions) as response:
                # The body of the response is not read.
                return response.status_code

    def _is_permitted(self, address: Address) -> bool:
        effective = _embedded_ipv4(address)
        return self._is_allowed(address) or (effective.is_global and not effective.is_multicast)

    def _is_allowed(self, address: Address) -> bool:
        return self._is_host_allowed or _is_in(address, self._networks) or _is_in(_embedded_ipv4(address), self._networks)


def _is_in(address: Address, networks: Collection[ipaddress.IPv4Network | ipaddress.IPv6Network]) -> bool:
    return any(address.version == network.version and address in network for network in networks)


def _embedded_ipv4(address: Address) -> Address:
    """The IPv4 address embedded in an IPv6 address (NAT64, mapped, 6to4, Teredo); otherwise the address itself."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else address)


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None
