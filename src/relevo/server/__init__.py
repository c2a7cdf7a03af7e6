"""Composition root: builds the processes of a server from its settings and connects their parts.

    stores           Settings ─► Store             home: its folders; whether it has users
    register         package ─► package store, version, alias
    main             serve ─► instance_lock, sockets, supervisor ─┬► worker × n
    subprocess       start_server: the same as a child process    ├► console, with --console
                                                                  └► background
    worker           ModelLoader ─► ModelService ◄─ PredictHandlers ◄─ app ◄─ http;  journal, telemetry
                     sync: background tasks that follow changes in the store
    background       journal reader ─► shipper ─► prediction store;  maintenance: audit checkpoints, retention
    tls              Settings ─► Certificate       self_signed: creates a certificate when none is configured
    model_status     which models are served, and why a model is not
    admin            offline erasure, key rotation, curation of labelled data
    checkpoint_export  audit checkpoints ─► home, another disk or server
    oidc             Settings ─► OIDC provider

It decides nothing. Each module is imported only by the processes that need it, which keeps the supervisor small.
"""

from __future__ import annotations

from relevo.server.console import console_socket, key_loader, local_url
from relevo.server.home import check_home
from relevo.server.instance_lock import once_orphans_ended, other_address
from relevo.server.main import check_address, check_server_exposure, serve
from relevo.server.model_status import model_statuses
from relevo.server.register import champion_of, move_alias, register
from relevo.server.stores import Store, open_store, utc_now
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
