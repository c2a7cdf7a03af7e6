"""Detects the format of a model file, and the version that wrote it, from its bytes alone: nothing is loaded, file names are ignored.

    bytes ─┬─ magic number ──────────────────────────────► DetectedFormat(format, version, …)
           ├─ compressed: unpack the first part ─ pickle? ─► pickle, with its compression
           ├─ pickle: opcodes up to the end ───────────────► protocol, scikit-learn version, imports
           ├─ protobuf fields up to the end ───────────────► ONNX, SavedModel
           └─ text: JSON, XML, LightGBM ───────────────────► by keys that only this format has

Every detector runs. A file that matches two formats was built to be parsed in two ways; it is rejected, like one that matches none.
"""

from __future__ import annotations

import bz2
import io
import json
import lzma
import re
import struct
import zipfile
import zlib
from typing import TYPE_CHECKING, Any

from relevo.errors import ImportModelError, UnknownFileFormatError
from relevo.importing.formats import IMPORTABLE, SUGGESTIONS, DetectedFormat, Format
from relevo.importing.pickle_scan import scan_pickle
from relevo.util.files import NotRegularFileError, read_plain

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MAX_BYTES = 2**31 - 1  # of a model file
_MAX_UNPACKED = 64 * 2**20  # of a compressed pickle, unpacked for the scan
_MAX_MEMBERS = 10_000  # of an archive
_HEAD_BYTES = 4096


def sniff_path(path: Path) -> DetectedFormat:
    """Detect the format of a file, or of a folder that a framework wrote. Raises UnknownFileFormatError."""
    if path.is_dir():
        if (path / "saved_model.pb").is_file():
            return DetectedFormat(format=Format.SAVED_MODEL)
        if (path / "manifest.json").is_file() and (path / "model.onnx").is_file():
            return DetectedFormat(format=Format.PACKAGE)
        raise UnknownFileFormatError(reason="it is a folder, and none that a known framework writes")
    return sniff(read_model_file(path))


def refuse_missing(path: Path) -> None:
    """Check that the path exists and can be accessed. Raises UnknownFileFormatError."""
    try:
        path.stat()
    except FileNotFoundError as cause:
        raise UnknownFileFormatError(reason="there is no such file") from cause
    except OSError as cause:
        raise UnknownFileFormatError(reason=f"it cannot be read ({cause.strerror})") from cause


def read_model_file(path: Path) -> bytes:
    """Read a model file. Raises UnknownFileFormatError when it is not a regular file, or too large."""
    try:
        return read_plain(path, max_bytes=MAX_BYTES)
    except FileNotFoundError as cause:
        raise UnknownFileFormatError(reason="there is no such file") from cause
    except NotRegularFileError as cause:
        raise UnknownFileFormatError(reason=str(cause)) from cause
    except OSError as cause:
        raise UnknownFileFormatError(reason=f"it cannot be read ({cause.strerror})") from cause


def sniff(data: bytes) -> DetectedFormat:
    """Detect the format of the bytes in bounded time and memory. Raises UnknownFileFormatError when none or several match."""
    if not data:
        raise UnknownFileFormatError(reason="it is empty")
    if len(data) > MAX_BYTES:
        raise UnknownFileFormatError(reason=f"it is larger than {MAX_BYTES} bytes")
    matches = [match for detect in _DETECTORS if (match := detect(data)) is not None]
    if not matches:
        raise UnknownFileFormatError(reason="its bytes are those of no model file Relevo knows")
    if len(matches) > 1:
        names = " and ".join(sorted({match.format.value for match in matches}))
        raise UnknownFileFormatError(reason=f"it can be read in more than one way ({names}), as only a file made to deceive can")
    if data[:2] != b"PK" and _has_zip_end(data):
        raise UnknownFileFormatError(
            reason=f"it is {matches[0].format.value} with a zip archive behind it, as only a file made to deceive is"
        )
    return matches[0]


def refuse_unless_importable(detected: DetectedFormat) -> None:
    """Reject formats that this release does not import, with a suggestion. Raises ImportModelError."""
    if detected.format is Format.PACKAGE:
        raise ImportModelError(reason="it is a Relevo package already, there is nothing to convert; register it as it is")
    if detected.format not in IMPORTABLE:
        description = f"{detected.format.value} {detected.version}".strip()
        suggestion = SUGGESTIONS.get(detected.format, "Export it to ONNX with its own framework, and import that")
        raise ImportModelError(reason=f"it is {description}, which cannot be imported by this release. {suggestion}")


# --- detectors, by format ---------------------------------------------------------------------------------------------


def _magic(data: bytes) -> DetectedFormat | None:
    """Formats with a magic number."""
    if data.startswith(b"\x89HDF\r\n\x1a\n"):
        version = re.search(rb"keras_version[\x00-\xff]{0,120}?(\d{1,2}\.\d{1,3}\.\d{1,3}[-\w]{0,12})", data)
        return DetectedFormat(format=Format.KERAS_H5, version=version[1].decode() if version else "")
    if data[4:8] == b"TFL3":
        return DetectedFormat(format=Format.TFLITE)
    if data[4:8] == b"ORTM":
        return DetectedFormat(format=Format.ORT)
    if data.startswith(b"CBM1"):
        return DetectedFormat(format=Format.CATBOOST)
    return None


def _zip(data: bytes) -> DetectedFormat | None:
    """Zip archives, by the names of their members; nothing is unpacked."""
    if not data.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return None
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError, struct.error, EOFError) as cause:
        raise UnknownFileFormatError(reason="it is a damaged zip archive") from cause
    if len(names) > _MAX_MEMBERS:
        raise UnknownFileFormatError(reason=f"it is a zip archive of more than {_MAX_MEMBERS} files")
    members = set(names)
    if {"manifest.json", "model.onnx"} <= {name.rpartition("/")[2] for name in members}:
        return DetectedFormat(format=Format.PACKAGE)
    if {"config.json", "model.weights.h5"} <= members:
        return DetectedFormat(format=Format.KERAS_ZIP)
    if torch_format := _torch_format(members):
        return DetectedFormat(format=torch_format)
    if "schema.json" in members:
        return DetectedFormat(format=Format.SKOPS)
    raise UnknownFileFormatError(
        reason="it is a zip archive, and none that a known framework writes; unpack it and import the model file inside"
    )


def _torch_format(members: set[str]) -> Format | None:
    """Return the PyTorch format of an archive with these members; all formats but the first have one folder at the top."""
    inner_names = {name.partition("/")[2] for name in members}
    if "serialized_exported_program.json" in members or (
        "archive_format" in inner_names and any("models/" in name for name in inner_names)
    ):
        return Format.TORCH_EXPORT
    if "data.pkl" not in inner_names:
        return None
    return Format.TORCHSCRIPT if "constants.pkl" in inner_names else Format.TORCH


def _compressed(data: bytes) -> DetectedFormat | None:
    """A pickle that joblib compressed; only its beginning is unpacked, up to a limit."""
    name = next((name for magic, name in _COMPRESSIONS if data.startswith(magic)), None)
    if name is None:
        return None
    try:
        content = _UNPACK[name](data)
    except (zlib.error, OSError, EOFError, lzma.LZMAError, ValueError):
        content = b""
    detected = _pickle(content, is_complete=len(content) < _MAX_UNPACKED) if content else None
    if detected is None:
        if name == "zlib":  # its two-byte magic number also matches other data
            return None
        raise UnknownFileFormatError(
            reason=f"it is {name}-compressed and holds no model file that Relevo knows in that form; unpack it first"
        )
    return DetectedFormat(
        format=detected.format, version=detected.version, framework=detected.framework, compression=name, scan=detected.scan
    )


def _pickle(data: bytes, *, is_complete: bool = True) -> DetectedFormat | None:
    """A pickle of any protocol: valid opcodes from the first byte to the last."""
    if not _may_be_pickle(data):
        return None
    scan = scan_pickle(data)
    has_protocol_opcode = data[0] == 0x80
    if not has_protocol_opcode and not scan.complete:
        return None
    is_legacy_torch = data.startswith(_TORCH_MAGIC)
    if scan.complete and scan.ended_at < len(data) and is_complete and not is_legacy_torch:
        raise UnknownFileFormatError(reason=f"it is a pickle with {len(data) - scan.ended_at} more bytes behind its end")
    if is_legacy_torch or any(name.startswith("torch.") for name in scan.imports):
        return DetectedFormat(format=Format.TORCH, scan=scan)
    version = ", ".join(scan.versions)
    return DetectedFormat(
        format=Format.PICKLE, version=f"protocol {scan.protocol}", framework=f"scikit-learn {version}" if version else "", scan=scan
    )


def _may_be_pickle(data: bytes) -> bool:
    if data[:1] == b"\x80":
        return len(data) > 2 and data[1] <= 5
    # Protocols 0 and 1 have no magic number; a pickle begins with one of these opcodes and ends with STOP.
    return data[:1] in {bytes([opcode]) for opcode in b"(c]})lditIUVSXKMJFGN"} and data.rstrip(b"\n")[-1:] == b"."


def _protobuf(data: bytes) -> DetectedFormat | None:
    """ONNX and SavedModel: fields that reach exactly to the end, with field numbers and wire types of that schema only."""
    fields = _top_fields(data)
    if fields is None:
        return None
    values = {number: value for number, _, value in fields}
    field_types = {(number, wire) for number, wire, _ in fields}
    if (1, 0) in field_types and (2, 2) in field_types and field_types <= {(1, 0), (2, 2)}:
        return DetectedFormat(format=Format.SAVED_MODEL)
    if (7, 2) not in field_types or not ({(1, 0), (8, 2)} & field_types) or not field_types <= _ONNX_FIELDS:
        return None
    texts = [part.decode("utf-8", "replace") for number in (2, 3) if isinstance(part := values.get(number), bytes)]
    version = values.get(1)
    return DetectedFormat(
        format=Format.ONNX, version=f"IR {version}" if isinstance(version, int) else "", framework=_printable(" ".join(texts))
    )


def _top_fields(data: bytes) -> list[tuple[int, int, int | bytes]] | None:
    """Return the top-level protobuf fields: number, wire type, value (first 40 bytes of bytes); None when they do not reach the end."""
    offset = 0
    fields: list[tuple[int, int, int | bytes]] = []
    while offset < len(data):
        key, offset = _varint(data, offset)
        number, wire = key >> 3, key & 7
        value, next_offset = _varint(data, offset)
        if offset == 0 or next_offset == 0 or number == 0 or wire not in {0, 2} or len(fields) > 1_000_000:
            return None
        if wire == 0:
            fields.append((number, wire, value))
            offset = next_offset
            continue
        if value > len(data) - next_offset:
            return None
        fields.append((number, wire, data[next_offset : next_offset + min(value, 40)]))
        offset = next_offset + value
    return fields


def _varint(data: bytes, offset: int) -> tuple[int, int]:
    """Decode a varint; returns the value and the offset of the next field, or 0, 0 when it is truncated."""
    value = 0
    for shift in range(0, 70, 7):
        if offset >= len(data):
            return 0, 0
        value |= (data[offset] & 0x7F) << shift
        offset += 1
        if data[offset - 1] < 0x80:
            return value, offset
    return 0, 0


def _ubjson(data: bytes) -> DetectedFormat | None:
    if data.startswith((b"{L", b"{U", b"{i")) and b"learner" in data[:64]:
        return DetectedFormat(format=Format.XGBOOST_UBJ)
    return None


def _xgboost_binary(data: bytes) -> DetectedFormat | None:
    """136 bytes of parameters, then the objective and the booster as length-prefixed texts."""
    start = 136 + (4 if data.startswith(b"binf") else 0)
    objective, offset = _read_length_prefixed(data, start)
    booster, _ = _read_length_prefixed(data, offset)
    if re.fullmatch(rb"[a-z]{2,12}:[a-z0-9_]{2,30}", objective) and booster in {b"gbtree", b"gblinear", b"dart"}:
        return DetectedFormat(format=Format.XGBOOST_BINARY)
    return None


def _read_length_prefixed(data: bytes, offset: int) -> tuple[bytes, int]:
    if len(data) < offset + 8:
        return b"", offset
    length = int(struct.unpack_from("<Q", data, offset)[0])
    return (data[offset + 8 : offset + 8 + length], offset + 8 + length) if length <= 64 else (b"", offset)


def _safetensors(data: bytes) -> DetectedFormat | None:
    if len(data) < 10 or data[8:9] != b"{":
        return None
    length = int(struct.unpack_from("<Q", data)[0])
    is_header_valid = 2 <= length <= min(len(data) - 8, 100 * 2**20) and data[8 + length - 1 : 8 + length].strip() in {b"}", b""}
    return DetectedFormat(format=Format.SAFETENSORS) if is_header_valid and b'"dtype"' in data[8 : 8 + length] else None


def _text(data: bytes) -> DetectedFormat | None:
    """LightGBM's text format, and PMML in XML."""
    head = data[:_HEAD_BYTES].lstrip(b"\xef\xbb\xbf \t\r\n")
    if lightgbm_match := re.match(rb"tree\r?\nversion=(v\d{1,2})\r?\n", head):
        return DetectedFormat(format=Format.LIGHTGBM, version=lightgbm_match[1].decode())
    if head.startswith(b"<") and (pmml_match := re.search(rb"<PMML[^>]{0,400}?version=[\"']([\d.]{1,6})", head)):
        return DetectedFormat(format=Format.PMML, version=pmml_match[1].decode())
    return None


def _json(data: bytes) -> DetectedFormat | None:
    """JSON models, by their top-level keys."""
    if not data[:64].lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
        return None
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return _json_format(document)


def _json_format(document: dict[str, Any]) -> DetectedFormat | None:
    if "learner" in document:
        version = document.get("version")
        return DetectedFormat(
            format=Format.XGBOOST_JSON, version=".".join(str(part) for part in version[:3]) if isinstance(version, list) else ""
        )
    if document.get("name") == "tree" and "tree_info" in document:
        return DetectedFormat(format=Format.LIGHTGBM_JSON, version=_printable(document.get("version")))
    if "class_name" in document and "config" in document:
        return DetectedFormat(format=Format.KERAS_JSON, version=_printable(document.get("keras_version")))
    return None


def _printable(text: Any) -> str:
    return "".join(character for character in text if character.isprintable())[:80] if isinstance(text, str) else ""


def _has_zip_end(data: bytes) -> bool:
    return b"PK\x05\x06" in data[-66_000:] and zipfile.is_zipfile(io.BytesIO(data))


def _inflate(data: bytes, window: int) -> bytes:
    return zlib.decompressobj(window).decompress(data, _MAX_UNPACKED)


_COMPRESSIONS = (
    (b"\x1f\x8b", "gzip"),
    (b"BZh", "bz2"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"\x5d\x00\x00", "lzma"),
    (b"\x78\x01", "zlib"),
    (b"\x78\x5e", "zlib"),
    (b"\x78\x9c", "zlib"),
    (b"\x78\xda", "zlib"),
)
_UNPACK: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: _inflate(data, 31),
    "zlib": lambda data: _inflate(data, 15),
    "bz2": lambda data: bz2.BZ2Decompressor().decompress(data, _MAX_UNPACKED),
    "xz": lambda data: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=256 * 2**20).decompress(data, _MAX_UNPACKED),
    "lzma": lambda data: lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=256 * 2**20).decompress(data, _MAX_UNPACKED),
}
#: How torch.save's format before zip begins: protocol 2, then PyTorch's own magic number.
_TORCH_MAGIC = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."
#: (number, wire type) of ModelProto's fields.
_ONNX_FIELDS = frozenset({(1, 0), (5, 0), *((number, 2) for number in (2, 3, 4, 6, 7, 8, 14, 20, 25, 26))})
_DETECTORS = (_magic, _zip, _compressed, _pickle, _protobuf, _ubjson, _xgboost_binary, _safetensors, _text, _json)
