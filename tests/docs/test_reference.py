"""The reference pages say what the code says, and every command, setting, code and route is on them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_reference_is_up_to_date() -> None:
    """Settings, commands, error codes and metrics are documented as they are."""
    done = run("docs/make_reference.py", "--check")
    assert done.returncode == 0, done.stderr


def test_the_changelog_names_the_release() -> None:
    """Version of the package, of the module and of the changelog agree."""
    done = run("docs/check_changelog.py")
    assert done.returncode == 0, done.stderr


def test_a_wrong_changelog_is_noticed() -> None:
    """The check tells a version without a heading, and a heading nobody knows."""
    program = (
        "import sys; sys.path.insert(0, 'docs'); from check_changelog import problems\n"
        "assert problems('## [0.1.0] - 2026-01-01\\n### Added\\n', '0.1.0', '0.1.0') == []\n"
        "assert len(problems('## [0.1.0] - 2026-01-01\\n### Novelties\\n', '0.2.0', '0.1.0')) == 3\n"
    )
    done = run("-c", program)
    assert done.returncode == 0, done.stderr
