"""Hostile folders and archives are rejected before their content is read."""

from __future__ import annotations

import os
import socket
import stat
import zipfile
from typing import TYPE_CHECKING

import pytest

from relevo.errors import PackageError, UnsafePackageError
from relevo.package.archive import read_files

if TYPE_CHECKING:
    from pathlib import Path


def _zip(path: Path, entries: list[tuple[zipfile.ZipInfo | str, bytes]]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for entry, content in entries:
            archive.writestr(entry, content)
    return path


@pytest.mark.parametrize(
    "name",
    [
        "../evil",
        "a/../../evil",
        "/etc/passwd",
        "..%2fevil/../x",
        "a\\b",
        "C:x",
        "a//b",
        ".hidden",
        "a/./b",
        "ünï",
        "a" * 101,
        "a/b/c/d/e",
    ],
)
def test_a_zip_cannot_reach_outside(tmp_path: Path, name: str) -> None:
    """Rejects names that leave the package, or differ in meaning between systems."""
    with pytest.raises(UnsafePackageError):
        read_files(_zip(tmp_path / "x.zip", [(name, b"x")]))
    assert not (tmp_path.parent / "evil").exists()


def test_a_name_with_nul_is_refused(tmp_path: Path) -> None:
    """Rejects a name with a NUL byte, although the library cuts it there."""
    path = _zip(tmp_path / "x.zip", [("card.md_hidden", b"x")])
    path.write_bytes(path.read_bytes().replace(b"card.md_hidden", b"card.md\x00hidden"))
    with pytest.raises(PackageError):
        read_files(path)


def test_a_link_in_a_zip_is_refused(tmp_path: Path) -> None:
    """Rejects an entry that would become a symbolic link."""
    entry = zipfile.ZipInfo("model.onnx")
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    with pytest.raises(UnsafePackageError, match="link"):
        read_files(_zip(tmp_path / "x.zip", [(entry, b"/etc/passwd")]))


def test_names_that_differ_in_case_only_are_refused(tmp_path: Path) -> None:
    """Rejects names that are equal on a case-insensitive file system."""
    with pytest.raises(UnsafePackageError, match="case"):
        read_files(_zip(tmp_path / "x.zip", [("card.md", b"a"), ("Card.md", b"b")]))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_the_same_name_twice_is_refused(tmp_path: Path) -> None:
    """Rejects a duplicate name."""
    with pytest.raises(UnsafePackageError, match="twice"):
        read_files(_zip(tmp_path / "x.zip", [("card.md", b"a"), ("card.md", b"b")]))


def test_a_bomb_is_refused_before_it_is_inflated(tmp_path: Path) -> None:
    """Rejects a decompression bomb by its headers."""
    path = _zip(tmp_path / "x.zip", [("model.onnx", b"\x00" * (80 * 1024 * 1024))])
    assert path.stat().st_size < 100_000
    with pytest.raises(UnsafePackageError, match="grow"):
        read_files(path)


def test_a_bomb_that_lies_about_its_size_is_refused(tmp_path: Path) -> None:
    """An entry longer than its header says is cut at that length and rejected."""
    path = _zip(tmp_path / "x.zip", [("model.onnx", b"\x00" * 1_000_000)])
    data = path.read_bytes().replace((1_000_000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    path.write_bytes(data)
    with pytest.raises(PackageError):
        read_files(path)


def test_too_many_files_are_refused(tmp_path: Path) -> None:
    """Rejects more than the maximum number of files."""
    with pytest.raises(UnsafePackageError, match="files"):
        read_files(_zip(tmp_path / "x.zip", [(f"golden/{number}", b"") for number in range(600)]))


def test_a_cut_zip_is_refused(tmp_path: Path) -> None:
    """A truncated zip is reported as such, wherever it ends."""
    whole = _zip(tmp_path / "x.zip", [("card.md", b"hello" * 100), ("model.onnx", os.urandom(500))]).read_bytes()
    for length in range(4, len(whole), 37):
        (tmp_path / "cut.zip").write_bytes(whole[:length])
        with pytest.raises(PackageError, match="cut off"):
            read_files(tmp_path / "cut.zip")


def test_something_else_is_no_package(tmp_path: Path) -> None:
    """A file that is no zip, a zip after other bytes, and a missing path: each is rejected with its reason."""
    (tmp_path / "x").write_bytes(b"GIF89a")
    polyglot = b"#!/bin/sh\n" + _zip(tmp_path / "x.zip", [("card.md", b"x")]).read_bytes()
    (tmp_path / "y.zip").write_bytes(polyglot)
    for name in ("x", "y.zip"):
        with pytest.raises(PackageError, match="neither a folder nor a zip"):
            read_files(tmp_path / name)
    with pytest.raises(PackageError, match="no folder or file"):
        read_files(tmp_path / "nothing")


def test_a_folder_with_a_link_is_refused(small_folder: Path) -> None:
    """Rejects a link in a folder, to a file or to a folder."""
    for target in ("/etc/passwd", "/etc"):
        link = small_folder / "golden" / "link"
        link.symlink_to(target)
        with pytest.raises(UnsafePackageError, match="link"):
            read_files(small_folder)
        link.unlink()


def test_a_folder_with_a_socket_or_pipe_is_refused(small_folder: Path) -> None:
    """Rejects pipes, which would block the reader, and sockets."""
    os.mkfifo(small_folder / "pipe")
    with pytest.raises(UnsafePackageError):
        read_files(small_folder)
    (small_folder / "pipe").unlink()
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(small_folder / "door"))
        with pytest.raises(UnsafePackageError):
            read_files(small_folder)


def test_a_folder_of_deep_folders_is_refused(tmp_path: Path) -> None:
    """Rejects folders nested too deeply."""
    (tmp_path / "p" / "a/b/c/d/e/f").mkdir(parents=True)
    with pytest.raises(UnsafePackageError):
        read_files(tmp_path / "p")


def test_folders_named_in_a_zip_do_no_harm(tmp_path: Path) -> None:
    """Ignores the folder entries of a zip."""
    assert read_files(_zip(tmp_path / "x.zip", [("golden/", b""), ("golden/a", b"1")])) == {"golden/a": b"1"}
