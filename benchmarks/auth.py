"""What asking who calls costs the digits job: a server without users, and one that wants a key, in turn.

    two homes, one model ─┬─ no users ─────────────────┐
                          └─ a user and a key ─────────┴─► wrk, the same connections ─► rate, p99, their ratio

Usage: auth.py [--seconds 8] [--rounds 7] [--connections 32]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import jobs
from contenders import import_image_model, relevo_server
from measuring import conditions, interleaved, one_round, ratio, table, verdict

from relevo import server
from relevo.config import Settings
from relevo.domain.access import Role, Scope
from relevo.domain.audit import Actor

_PROMISED = 0.95
_WARM_UP_S = 2.0


def key_for(home: Path) -> str:
    """A user of this home and the whole of a key to predict with."""
    store = server.open_store(Settings(home=home))
    by, now = Actor(actor="cli"), datetime.now(UTC)
    user = store.users.add_user("bench", Role.OPERATOR, by=by, at=now)
    key = store.users.add_key(user, "bench", [Scope.PREDICT], by=by, at=now)
    store.engine.dispose()
    return key


def main() -> int:
    """Print Markdown and the ratio."""
    options = argparse.ArgumentParser(description="Keys.")
    options.add_argument("--seconds", type=float, default=8.0)
    options.add_argument("--rounds", type=int, default=7)
    options.add_argument("--connections", type=int, default=32)
    chosen = options.parse_args()
    job = jobs.digits()
    print(conditions())
    with tempfile.TemporaryDirectory(prefix="relevo-bench-") as place:
        homes = {name: Path(place) / name for name in ("open", "key")}
        for home in homes.values():
            import_image_model(job, home)
        servers = {name: relevo_server(name, home, "/predict", job.raw()) for name, home in homes.items()}
        servers["key"] = replace(servers["key"], key=key_for(homes["key"]))
        parts = {
            name: partial(one_round, one, seconds=chosen.seconds, connections=chosen.connections, warm_up=_WARM_UP_S)
            for name, one in servers.items()
        }
        seen = interleaved(parts, chosen.rounds)
    print(table(seen, servers))
    share = ratio(seen, "key", "open")
    held = verdict(f"with a key {share:.0%} of the rate without users (promised: {_PROMISED:.0%})", holds=share >= _PROMISED)
    whole = verdict("0 requests failed", holds=all(load.failed == 0 for loads in seen.values() for load in loads))
    return 0 if held and whole else 1


if __name__ == "__main__":
    sys.exit(main())
