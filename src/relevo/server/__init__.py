"""The one room that knows everyone: settings in, running processes out. It builds and connects, and decides nothing.

    stores         Settings ─► Store            register: a package on the shelf, a version, an alias
    server         serve ─► sole in its home, socket, supervisor ─┬► worker × n
    running        start_server: the same as a child process      ├► console, where wanted
                                                                  └► loop
    worker         watcher ─► service ◄─ predict ◄─ app ◄─ http_server;  journal, telemetry
                   following, sealing: side_tasks that keep it as the store is
    loop           spool reader ─► shipper ─► history;  chores: heads of the audit, what is too old to keep
    certificates   Settings ─► Certificate      own_certificate: made where none is given
    standing       which model answers, and why one does not
    erasing        what a person at this machine erases, whether a server runs or not
    cleaning, labelling, sign_in    what the settings say of labels and of signing in elsewhere

A file is loaded only by the process it is for: the supervisor stays small, and a worker never sees what the command line needs.
"""

from __future__ import annotations

from relevo.server.console import address_at, console_socket, key_reader
from relevo.server.instance_lock import once_orphans_ended, served_elsewhere
from relevo.server.main import check_address, check_exposure, serve
from relevo.server.model_status import standing
from relevo.server.stores import Store, champion_of, check_home, move_alias, open_store, register, utc_now
from relevo.server.subprocess import RunningServer, start_server
from relevo.server.tls import Certificate, certificate_of, file_of, trusting

__all__ = [
    "Certificate",
    "RunningServer",
    "Store",
    "address_at",
    "certificate_of",
    "champion_of",
    "check_address",
    "check_exposure",
    "check_home",
    "console_socket",
    "file_of",
    "key_reader",
    "move_alias",
    "once_orphans_ended",
    "open_store",
    "register",
    "serve",
    "served_elsewhere",
    "standing",
    "start_server",
    "trusting",
    "utc_now",
]
