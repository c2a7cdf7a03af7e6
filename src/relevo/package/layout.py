"""File names and size limits of a package, for the writer and the reader.

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

#: Maximum number of files in a package.
MAX_FILES = 512
#: Maximum bytes of all files together; protobuf itself ends at 2 GiB.
MAX_BYTES = 2 * 1024**3
#: Maximum bytes of the manifest: a vocabulary of many thousand words fits.
MAX_MANIFEST_BYTES = 32 * 1024**2
#: Limit of the inflated size: this many times the size of the archive, or RATIO_FLOOR bytes if that is more.
MAX_RATIO, RATIO_FLOOR = 200, 64 * 1024**2

_PATH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}(/[A-Za-z0-9_][A-Za-z0-9._-]{0,99}){0,3}")


def path_is_plain(path: str) -> bool:
    """Whether a path stays inside the package on every system: ASCII, "/" as separator, no part that begins with a dot."""
    return _PATH.fullmatch(path) is not None
