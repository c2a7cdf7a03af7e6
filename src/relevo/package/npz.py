"""NumPy's own file format, written the same each time and read without trust.

    ndarray ─► .npy bytes ─► ndarray           {name: ndarray} ─► .npz bytes ─► {name: ndarray}

Read only: plain numbers in C order whose declared size is the size that is there. Nothing is ever unpickled.
"""

from __future__ import annotations

import io
import zipfile
from math import prod
from typing import Any

import numpy as np
from numpy.lib import format as npy

from relevo.errors import PackageError

_NO_TIME = (1980, 1, 1, 0, 0, 0)


def array_bytes(array: np.ndarray[Any, Any]) -> bytes:
    """An array as .npy, little-endian and in C order."""
    out = io.BytesIO()
    plain = np.ascontiguousarray(array)
    npy.write_array(out, plain.astype(plain.dtype.newbyteorder("<")), version=(1, 0), allow_pickle=False)
    return out.getvalue()


def read_array(data: bytes, path: str) -> np.ndarray[Any, Any]:
    """The array of a .npy file. Raises PackageError when it is none, or its size is not what it declares."""
    file = io.BytesIO(data)
    try:
        version = npy.read_magic(file)
        shape, fortran, dtype = npy.read_array_header_1_0(file, max_header_size=2000)
    except Exception as cause:
        # A header is parsed as Python: hostile ones raise whatever a tokenizer can.
        raise PackageError(reason=f"'{path}' is not an array we can read") from cause
    rest = data[file.tell() :]
    if version != (1, 0) or fortran or dtype.kind not in "fiub" or prod(shape) * dtype.itemsize != len(rest):
        raise PackageError(reason=f"'{path}' is not an array of plain numbers of the size it declares")
    return np.frombuffer(rest, dtype=dtype).reshape(shape)


def archive_bytes(arrays: dict[str, np.ndarray[Any, Any]]) -> bytes:
    """Named arrays as .npz: sorted, stored, without times, so that `numpy.load` reads them and the bytes never vary."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(arrays):
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", _NO_TIME), array_bytes(arrays[name]))
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
