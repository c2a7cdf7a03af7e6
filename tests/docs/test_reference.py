"""The reference pages say what the code says, and every command, setting, code and route is on them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import httpx
import msgspec
from tests.support.web_app import DIGITS, build_world, served

from relevo.domain.manifest import Calibration, Lineage, Manifest, Parity, Precision
from relevo.testing import memory_store

ROOT = Path(__file__).parent.parent.parent


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_reference_is_up_to_date() -> None:
    """What the code says of itself is documented as it is, and nothing on the Spanish pages is left in English."""
    done = run("docs/make_reference.py", "--check")
    assert (done.returncode, done.stderr) == (0, "")


def test_the_changelog_names_the_release() -> None:
    """Version of the package, of the module and of the changelog agree."""
    done = run("docs/check_changelog.py")
    assert done.returncode == 0, done.stderr


def test_a_wrong_changelog_is_noticed() -> None:
    """The check reports a version without a heading, and an unknown heading."""
    program = (
        "import sys; sys.path.insert(0, 'docs'); from check_changelog import problems\n"
        "assert problems('## [0.1.0] - 2026-01-01\\n### Added\\n', '0.1.0', '0.1.0') == []\n"
        "assert len(problems('## [0.1.0] - 2026-01-01\\n### Novelties\\n', '0.2.0', '0.1.0')) == 3\n"
    )
    done = run("-c", program)
    assert done.returncode == 0, done.stderr


def test_every_route_is_on_the_page() -> None:
    """A route that the document of the API knows stands in the HTTP reference, with its method's path."""
    page = re.sub(r"\{[a-z_]+\}", "{}", (ROOT / "docs" / "reference" / "http.md").read_text(encoding="utf-8"))
    with memory_store() as store, served(build_world(store, [DIGITS]).app) as address:
        paths = httpx.get(f"{address}/openapi.json").json()["paths"]
    # Each model has a predict route of its own there, with its own fields.
    asked = {re.sub(r"\{[a-z_]+\}", "{}", path).replace("/models/digits/", "/models/{}/") for path in paths}
    missing = [path for path in sorted(asked) if path not in page]
    assert not missing


def test_every_key_of_the_manifest_is_on_the_page() -> None:
    """A key that a manifest may have stands in the package format's reference."""
    page = (ROOT / "docs" / "reference" / "package-format.md").read_text(encoding="utf-8")
    keys = {field.name for kind in (Manifest, Calibration, Lineage, Parity, Precision) for field in msgspec.structs.fields(kind)}
    assert not [key for key in sorted(keys) if f"`{key}`" not in page and f"`lineage.{key}`" not in page]
