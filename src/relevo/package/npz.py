"""Reads and writes NumPy's file formats: deterministic output, validated input.

    ndarray ─► .npy bytes ─► ndarray           {name: ndarray} ─► .npz bytes ─► {name: ndarray}

The reader accepts only plain numbers in C order whose declared size is the actual size. It never unpickles.
"""

from __future__ import annotations

import io
import zipfile
from math import prod
from typing import Any

import numpy as np
from numpy.lib import format as npy

from relevo.errors import PackageError

_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)


def array_bytes(array: np.ndarray[Any, Any]) -> bytes:
    """The array as .npy, little-endian and in C order."""
    out = io.BytesIO()
    plain = np.ascontiguousarray(array)
    npy.write_array(out, plain.astype(plain.dtype.newbyteorder("<")), version=(1, 0), allow_pickle=False)
    return out.getvalue()


def read_array(data: bytes, path: str) -> np.ndarray[Any, Any]:
    """The array of a .npy file. Raises PackageError if it is invalid or its size differs from the header."""
    file = io.BytesIO(data)
    try:
        version = npy.read_magic(file)
        shape, fortran, dtype = npy.read_array_header_1_0(file, max_header_size=2000)
    except Exception as cause:
        # NumPy parses the header as Python source; a hostile header can raise any error of the tokenizer.
        raise PackageError(reason=f"'{path}' is not an array we can read") from cause
    body = data[file.tell() :]
    if version != (1, 0) or fortran or dtype.kind not in "fiub" or prod(shape) * dtype.itemsize != len(body):
        raise PackageError(reason=f"'{path}' is not an array of plain numbers of the size it declares")
    return np.frombuffer(body, dtype=dtype).reshape(shape)


def archive_bytes(arrays: dict[str, np.ndarray[Any, Any]]) -> bytes:
    """Named arrays as .npz: sorted, uncompressed, without timestamps. `numpy.load` reads it, and the bytes are reproducible."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(arrays):
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", _ZIP_EPOCH), array_bytes(arrays[name]))
    return out.getvalue()


def read_archive(data: bytes, path: str) -> dict[str, np.ndarray[Any, Any]]:
    """The arrays of an .npz file that `archive_bytes` wrote. Raises PackageError."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
                raise PackageError(reason=f"'{path}' is compressed; arrays are stored plain")
            return {
                entry.filename.removesuffix(".npy"): read_array(archive.read(entry), f"{path}/{entry.filename}")
                for entry in archive.infolist()
            }
    except (zipfile.BadZipFile, EOFError, OSError, ValueError, NotImplementedError, RuntimeError) as cause:
        raise PackageError(reason=f"'{path}' is not an archive of arrays") from cause
