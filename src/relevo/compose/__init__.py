"""The one room that knows everyone: settings in, running processes out. It builds and connects, and decides nothing.

    stores    Settings ─► Store            register: a package on the shelf, a version, an alias
    server    serve ─► socket, supervisor ─┬► worker × n
    running   start_server: the same as a child process
    worker      watcher ─► service ◄─ predict ◄─ app ◄─ uvicorn;  journal, telemetry
    loop        spool reader ─► shipper ─► history

A file is loaded only by the process it is for: the supervisor stays small, and a worker never sees what the command line needs.
"""

from __future__ import annotations

from relevo.compose.running import RunningServer, start_server
from relevo.compose.server import check_address, serve
from relevo.compose.stores import Store, open_store, register, utc_now

__all__ = ["RunningServer", "Store", "check_address", "open_store", "register", "serve", "start_server", "utc_now"]
