"""Answers every POST with the same bytes: shows how fast the generator is, so that its limit is not taken for a server's.

Usage: null_server.py PORT      two processes, uvloop and httptools
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from typing import cast

import httptools
import uvloop

_BODY = b'{"query_id":"0","class":0,"confidence":1.0,"probabilities":[1.0,0.0]}'
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(_BODY), _BODY)


class Parrot(asyncio.Protocol):
    """One connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to read requests."""
        # uvloop's transports can write, but are no subclass that says so.
        self._transport = cast("asyncio.WriteTransport", transport)
        self._parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        """Bytes of requests."""
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        """A request is whole."""
        self._transport.write(_ANSWER)


async def _serve(port: int) -> None:
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listening.bind(("127.0.0.1", port))
    server = await asyncio.get_running_loop().create_server(Parrot, sock=listening)
    await server.serve_forever()


if __name__ == "__main__":
    os.fork()
    uvloop.run(_serve(int(sys.argv[1])))
