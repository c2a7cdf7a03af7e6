"""The pinned requirements cover what pyproject.toml asks for, with hashes and without any address."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
PIN = re.compile(r"^([a-z0-9][a-z0-9._-]*)(\[[a-z,]+\])?==\S+", re.MULTILINE)


def pinned(name: str) -> set[str]:
    text = (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8")
    return {found[0] for found in PIN.findall(text)}


def wanted(requirements: list[str]) -> set[str]:
    names = (re.match(r"[A-Za-z0-9._-]+", one) for one in requirements)
    return {found[0].lower() for found in names if found} - {"relevo"}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_every_pin_has_hashes_and_no_address(lock: Path) -> None:
    """Nothing is installed that was not looked at, and no file says where to get it."""
    text = lock.read_text(encoding="utf-8")
    assert "://" not in text
    assert "index" not in re.sub(r"^[a-z0-9._-]+==", "", text, flags=re.MULTILINE)
    for block in re.split(r"\n(?=[a-z0-9])", text.strip()):
        assert "--hash=sha256:" in block, block[:80]


def test_what_is_asked_for_is_pinned() -> None:
    """A dependency added to pyproject.toml is in the lock files that need it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    base = wanted(project["dependencies"])
    assert base <= pinned("base")
    assert base | wanted(extras["sklearn"]) <= pinned("demo")
    assert base | wanted(extras["sklearn"]) | wanted(extras["postgres"]) | wanted(extras["dev"]) <= pinned("dev")


def test_serving_needs_nothing_that_trains() -> None:
    """The base install has no training or converting library."""
    assert not pinned("base") & {"scikit-learn", "scipy", "onnx", "skl2onnx", "matplotlib", "pandas"}
