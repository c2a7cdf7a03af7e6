"""Key files: created once, private, and never contained in an error."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from relevo.errors import ConfigError
from relevo.store.files.key_files import load_or_create_key

if TYPE_CHECKING:
    from pathlib import Path


def test_a_key_is_made_once(tmp_path: Path) -> None:
    """Concurrent creators all read the same key, which only its owner may read."""
    path = tmp_path / "keys" / "audit.key"
    with ThreadPoolExecutor(8) as pool:
        made = set(pool.map(lambda _: load_or_create_key(path), range(8)))
    assert len(made) == 1
    assert len(next(iter(made))) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [one.name for one in path.parent.iterdir()] == ["audit.key"]


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    """A key file readable by others is rejected; the error names the fix and contains nothing of the key."""
    path = tmp_path / "audit.key"
    key = load_or_create_key(path).hex()
    path.chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600") as refused:
        load_or_create_key(path)
    assert key not in str(refused.value)


@pytest.mark.parametrize("content", ["", "abc", "g" * 64, "0" * 63, "\x00\xff"])
def test_a_file_with_other_content_is_no_key(tmp_path: Path, content: str) -> None:
    """A truncated or other file is rejected and not replaced by a new key."""
    path = tmp_path / "audit.key"
    path.write_text(content, encoding="latin-1")
    path.chmod(0o600)
    with pytest.raises(ConfigError):
        load_or_create_key(path)
    assert path.read_text(encoding="latin-1") == content


def test_a_dangling_link_is_no_key(tmp_path: Path) -> None:
    """No key is created at the target of a dangling link, and the error names the file."""
    path = tmp_path / "master.key"
    path.symlink_to("nowhere")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_or_create_key(path)
    assert not (tmp_path / "nowhere").exists()


def test_a_required_key_is_not_created(tmp_path: Path) -> None:
    """With make=False a missing key is an error."""
    with pytest.raises(ConfigError, match="not there"):
        load_or_create_key(tmp_path / "master.key", make=False)
    assert list(tmp_path.iterdir()) == []
