"""A framework's folder as bytes and back."""

from __future__ import annotations

import io
import os
import tarfile
from typing import TYPE_CHECKING

import pytest

from relevo.errors import SandboxError, UnknownFileFormatError
from relevo.importing import folder_archive
from relevo.importing.folder_archive import fold, unfold

if TYPE_CHECKING:
    from pathlib import Path


def laid_out(folder: Path) -> Path:
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"graph")
    (folder / "variables" / "v.index").write_bytes(b"numbers")
    return folder


def test_the_same_files_are_the_same_bytes(tmp_path: Path) -> None:
    """Whenever they were written, wherever they lie; and they come back as they were, readable and no more."""
    first, second = laid_out(tmp_path / "a"), laid_out(tmp_path / "b")
    os.utime(second / "saved_model.pb", (1, 1))
    (second / "saved_model.pb").chmod(0o600)
    assert fold(first) == fold(second)
    unfold(fold(first), tmp_path / "c")
    assert (tmp_path / "c" / "variables" / "v.index").read_bytes() == b"numbers"
    assert (tmp_path / "c" / "saved_model.pb").stat().st_mode & 0o777 == 0o644


def test_nothing_leads_out_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Links and pipes are refused, and so is more than the bounds allow."""
    folder = laid_out(tmp_path / "a")
    (folder / "link").symlink_to("/etc")
    with pytest.raises(UnknownFileFormatError, match="'link' is neither"):
        fold(folder)
    (folder / "link").unlink()
    os.mkfifo(folder / "pipe")
    with pytest.raises(UnknownFileFormatError, match="'pipe' is neither"):
        fold(folder)
    (folder / "pipe").unlink()
    monkeypatch.setattr(folder_archive, "MAX_BYTES", 6)
    with pytest.raises(UnknownFileFormatError, match="more than 6 bytes"):
        fold(folder)
    monkeypatch.setattr(folder_archive, "MAX_FILES", 1)
    with pytest.raises(UnknownFileFormatError, match="more than 1 files"):
        fold(folder)
    with pytest.raises(SandboxError):
        unfold(b"no tar", tmp_path / "d")


@pytest.mark.parametrize("name", ["../out", "a/../../out", "/out"])
@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.SYMTYPE])
def test_what_another_hand_made_is_not_laid_out(tmp_path: Path, name: str, kind: bytes) -> None:
    """No path leads out of the folder, and nothing in it is a link."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        entry = tarfile.TarInfo(name)
        entry.type, entry.linkname, entry.size = kind, "/etc", 0
        tar.addfile(entry)
    with pytest.raises(SandboxError):
        unfold(archive.getvalue(), tmp_path / "folder")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["folder"]
