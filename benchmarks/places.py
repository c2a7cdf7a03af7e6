"""Where data, the peers' model and this checkout lie. Imports nothing, since the peers' environments read it too."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
#: Real data, RELEVO_TEST_DATA.
DATA = Path(os.environ.get("RELEVO_TEST_DATA", ROOT / "../shared/data")).resolve()
#: The digits model that all servers share, RELEVO_PEERS.
PEERS = Path(os.environ.get("RELEVO_PEERS", ROOT / "../shared/bench/peers")).resolve()
#: One environment for each peer, PEERS_HOME.
PEERS_HOME = Path(os.environ.get("PEERS_HOME", Path.home() / ".cache" / "relevo-peers"))
