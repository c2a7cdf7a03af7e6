"""A framework's folder is packed and extracted."""

from __future__ import annotations

import io
import os
import tarfile
from typing import TYPE_CHECKING

import pytest

from relevo.errors import SandboxError, UnknownFileFormatError
from relevo.importing import folder_archive
from relevo.importing.folder_archive import archive_folder, extract_folder

if TYPE_CHECKING:
    from pathlib import Path


def write_folder(folder: Path) -> Path:
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"graph")
    (folder / "variables" / "v.index").write_bytes(b"numbers")
    return folder


def test_the_same_files_are_the_same_bytes(tmp_path: Path) -> None:
    """The tar does not depend on times, modes or location; files are extracted unchanged and readable."""
    first, second = write_folder(tmp_path / "a"), write_folder(tmp_path / "b")
    os.utime(second / "saved_model.pb", (1, 1))
    (second / "saved_model.pb").chmod(0o600)
    assert archive_folder(first) == archive_folder(second)
    extract_folder(archive_folder(first), tmp_path / "c")
    assert (tmp_path / "c" / "variables" / "v.index").read_bytes() == b"numbers"
    assert (tmp_path / "c" / "saved_model.pb").stat().st_mode & 0o777 == 0o644


def test_links_pipes_and_excess_are_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Links and pipes are rejected, and so is more than the limits allow."""
    folder = write_folder(tmp_path / "a")
    (folder / "link").symlink_to("/etc")
    with pytest.raises(UnknownFileFormatError, match="'link' is neither"):
        archive_folder(folder)
    (folder / "link").unlink()
    os.mkfifo(folder / "pipe")
    with pytest.raises(UnknownFileFormatError, match="'pipe' is neither"):
        archive_folder(folder)
    (folder / "pipe").unlink()
    monkeypatch.setattr(folder_archive, "MAX_BYTES", 6)
    with pytest.raises(UnknownFileFormatError, match="more than 6 bytes"):
        archive_folder(folder)
    monkeypatch.setattr(folder_archive, "MAX_FILES", 1)
    with pytest.raises(UnknownFileFormatError, match="more than 1 files"):
        archive_folder(folder)
    with pytest.raises(SandboxError):
        extract_folder(b"no tar", tmp_path / "d")


@pytest.mark.parametrize("name", ["../out", "a/../../out", "/out"])
@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.SYMTYPE])
def test_foreign_tar_is_rejected(tmp_path: Path, name: str, kind: bytes) -> None:
    """A foreign tar with links or with paths outside the folder is rejected."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        entry = tarfile.TarInfo(name)
        entry.type, entry.linkname, entry.size = kind, "/etc", 0
        tar.addfile(entry)
    with pytest.raises(SandboxError):
        extract_folder(archive.getvalue(), tmp_path / "folder")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["folder"]
