"""How large a package may be, and how its files may be called: the same for writing and for reading.

manifest.json  manifest.sha256  model.onnx  golden/…  profile.npz  metrics.json  figures/…  card.md
"""

from __future__ import annotations

import re

MANIFEST, SEAL, MODEL, METRICS, PROFILE, CARD = (
    "manifest.json",
    "manifest.sha256",
    "model.onnx",
    "metrics.json",
    "profile.npz",
    "card.md",
)

#: Files in one package.
MAX_FILES = 512
#: Bytes of all files together; protobuf itself ends at 2 GiB.
MAX_BYTES = 2 * 1024**3
#: Bytes of the manifest: a vocabulary of many thousand words fits.
MAX_MANIFEST_BYTES = 32 * 1024**2
#: An archive may grow to this many times its own size, or to the floor below, when it is inflated.
MAX_RATIO, RATIO_FLOOR = 200, 64 * 1024**2

_PATH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}(/[A-Za-z0-9_][A-Za-z0-9._-]{0,99}){0,3}")


def path_is_plain(path: str) -> bool:
    """Whether a path stays inside the package on every system: ASCII, "/" between, no part that begins with a dot."""
    return _PATH.fullmatch(path) is not None
