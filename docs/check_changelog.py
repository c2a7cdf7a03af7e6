"""Checks that pyproject.toml, `relevo.__version__` and the newest heading of CHANGELOG.md have the same version."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

import relevo

ROOT = Path(__file__).parent.parent
_HEADING = re.compile(r"^## \[(\d+\.\d+\.\d+)\] - (\d{4}-\d\d-\d\d|unreleased)$", re.MULTILINE)
_KINDS = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def problems(changelog: str, packaged: str, imported: str) -> list[str]:
    """The mismatches, one sentence each."""
    found = []
    if packaged != imported:
        found.append(f"pyproject.toml says {packaged}, relevo.__version__ says {imported}")
    releases = _HEADING.findall(changelog)
    if not releases or releases[0][0] != packaged:
        found.append(f"CHANGELOG.md's newest heading is not '## [{packaged}] - <date or unreleased>'")
    strange = set(re.findall(r"^### (.+)$", changelog, re.MULTILINE)) - _KINDS
    if strange:
        found.append(f"CHANGELOG.md has headings that Keep a Changelog does not know: {', '.join(sorted(strange))}")
    return found


def main() -> int:
    """Print the problems on standard error; exit code 1 if there are any."""
    packaged = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    found = problems((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), packaged, relevo.__version__)
    for problem in found:
        sys.stderr.write(problem + "\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
