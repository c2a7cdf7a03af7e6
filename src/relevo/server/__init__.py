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

from relevo.server.console import console_socket, key_loader, local_url
from relevo.server.instance_lock import once_orphans_ended, other_address
from relevo.server.main import check_address, check_server_exposure, serve
from relevo.server.model_status import model_statuses
from relevo.server.stores import Store, champion_of, check_home, move_alias, open_store, register, utc_now
from relevo.server.subprocess import RunningServer, start_server
from relevo.server.tls import Certificate, certificate_of, certificate_path, pinned_context

__all__ = [
    "Certificate",
    "RunningServer",
    "Store",
    "certificate_of",
    "certificate_path",
    "champion_of",
    "check_address",
    "check_home",
    "check_server_exposure",
    "console_socket",
    "key_loader",
    "local_url",
    "model_statuses",
    "move_alias",
    "once_orphans_ended",
    "open_store",
    "other_address",
    "pinned_context",
    "register",
    "serve",
    "start_server",
    "utc_now",
]
