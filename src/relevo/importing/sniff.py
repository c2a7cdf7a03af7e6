"""Which format a model file has, and which version wrote it, from its bytes alone: nothing is loaded, no name is believed.

    bytes ─┬─ magic of a format ───────────────────► Sniffed(format, version, …)
           ├─ compressed: the first part unpacked ─► a pickle inside? ─► pickle, compression named
           ├─ pickle: opcodes followed to the end ─► protocol, scikit-learn's version, what it imports
           ├─ protobuf fields to the end ──────────► ONNX, SavedModel
           └─ text: JSON, XML, LightGBM ───────────► by the keys that only this format has

Every test is asked; a file that fits two formats is made to be read two ways and is refused, like one that fits none.
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
from relevo.importing.pickle_scan import look
from relevo.util.files import NotRegularFileError, read_plain

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MAX_BYTES = 2**31 - 1  # of a model file
_MAX_LOOKED = 64 * 2**20  # of a compressed pickle, unpacked for the look
_MAX_MEMBERS = 10_000  # names in an archive
_HEAD = 4096


def sniff_path(path: Path) -> DetectedFormat:
    """Sniff a file, or a folder that a framework wrote. Raises UnknownFileFormatError."""
    if path.is_dir():
        if (path / "saved_model.pb").is_file():
            return DetectedFormat(format=Format.SAVED_MODEL)
        if (path / "manifest.json").is_file() and (path / "model.onnx").is_file():
            return DetectedFormat(format=Format.PACKAGE)
        raise UnknownFileFormatError(reason="it is a folder, and none that a known framework writes")
    return sniff(read_model_file(path))


def refuse_missing(path: Path) -> None:
    """See before all else whether there is something to import. Raises UnknownFileFormatError."""
    try:
        path.stat()
    except FileNotFoundError as cause:
        raise UnknownFileFormatError(reason="there is no such file") from cause
    except OSError as cause:
        raise UnknownFileFormatError(reason=f"it cannot be read ({cause.strerror})") from cause


def read_model_file(path: Path) -> bytes:
    """The bytes of a model file. Raises UnknownFileFormatError for what is no plain file, or too large."""
    try:
        return read_plain(path, most=MAX_BYTES)
    except FileNotFoundError as cause:
        raise UnknownFileFormatError(reason="there is no such file") from cause
    except NotRegularFileError as cause:
        raise UnknownFileFormatError(reason=str(cause)) from cause
    except OSError as cause:
        raise UnknownFileFormatError(reason=f"it cannot be read ({cause.strerror})") from cause


def sniff(data: bytes) -> DetectedFormat:
    """What the bytes are. Takes bounded time and memory. Raises UnknownFileFormatError on none, or more than one."""
    if not data:
        raise UnknownFileFormatError(reason="it is empty")
    if len(data) > MAX_BYTES:
        raise UnknownFileFormatError(reason=f"it is larger than {MAX_BYTES} bytes")
    found = [answer for test in _TESTS if (answer := test(data)) is not None]
    if not found:
        raise UnknownFileFormatError(reason="its bytes are those of no model file Relevo knows")
    if len(found) > 1:
        names = " and ".join(sorted({answer.format.value for answer in found}))
        raise UnknownFileFormatError(reason=f"it can be read in more than one way ({names}), as only a file made to deceive can")
    if data[:2] != b"PK" and _has_zip_end(data):
        raise UnknownFileFormatError(
            reason=f"it is {found[0].format.value} with a zip archive behind it, as only a file made to deceive is"
        )
    return found[0]


def refuse_unless_importable(sniffed: DetectedFormat) -> None:
    """Pass what this release imports; name what it does not. Raises ImportModelError."""
    if sniffed.format is Format.PACKAGE:
        raise ImportModelError(reason="it is a Relevo package already, there is nothing to convert; register it as it is")
    if sniffed.format not in IMPORTABLE:
        what = f"{sniffed.format.value} {sniffed.version}".strip()
        way = SUGGESTIONS.get(sniffed.format, "Export it to ONNX with its own framework, and import that")
        raise ImportModelError(reason=f"it is {what}, which cannot be imported by this release. {way}")


# --- one test a format ------------------------------------------------------------------------------------------------


def _magic(data: bytes) -> DetectedFormat | None:
    """Formats that say their name in the first bytes."""
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
    """Archives, by the names of their members; nothing is unpacked."""
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
    if torch := _torch(members):
        return DetectedFormat(format=torch)
    if "schema.json" in members:
        return DetectedFormat(format=Format.SKOPS)
    raise UnknownFileFormatError(
        reason="it is a zip archive, and none that a known framework writes; unpack it and import the model file inside"
    )


def _torch(members: set[str]) -> Format | None:
    """Which of torch's archives these are the members of; all but the first have one folder around them."""
    inside = {name.partition("/")[2] for name in members}
    if "serialized_exported_program.json" in members or ("archive_format" in inside and any("models/" in name for name in inside)):
        return Format.TORCH_EXPORT
    if "data.pkl" not in inside:
        return None
    return Format.TORCHSCRIPT if "constants.pkl" in inside else Format.TORCH


def _compressed(data: bytes) -> DetectedFormat | None:
    """A pickle that joblib compressed; only its beginning is unpacked, and only to a bound."""
    name = next((name for start, name in _COMPRESSIONS if data.startswith(start)), None)
    if name is None:
        return None
    try:
        inside = _UNPACK[name](data)
    except (zlib.error, OSError, EOFError, lzma.LZMAError, ValueError):
        inside = b""
    answer = _pickle(inside, whole=len(inside) < _MAX_LOOKED) if inside else None
    if answer is None:
        if name == "zlib":  # two bytes are a weak sign
            return None
        raise UnknownFileFormatError(
            reason=f"it is {name}-compressed and holds no model file that Relevo knows in that form; unpack it first"
        )
    return DetectedFormat(
        format=answer.format, version=answer.version, framework=answer.framework, compression=name, look=answer.look
    )


def _pickle(data: bytes, *, whole: bool = True) -> DetectedFormat | None:
    """A pickle of any protocol: opcodes that make sense from the first byte to the last."""
    if not _may_be_pickle(data):
        return None
    seen = look(data)
    binary = data[0] == 0x80
    if not binary and not seen.complete:
        return None
    legacy_torch = data.startswith(_TORCH_MAGIC)
    if seen.complete and seen.ended_at < len(data) and whole and not legacy_torch:
        raise UnknownFileFormatError(reason=f"it is a pickle with {len(data) - seen.ended_at} more bytes behind its end")
    if legacy_torch or any(name.startswith("torch.") for name in seen.imports):
        return DetectedFormat(format=Format.TORCH, look=seen)
    version = ", ".join(seen.versions)
    return DetectedFormat(
        format=Format.PICKLE, version=f"protocol {seen.protocol}", framework=f"scikit-learn {version}" if version else "", look=seen
    )


def _may_be_pickle(data: bytes) -> bool:
    if data[:1] == b"\x80":
        return len(data) > 2 and data[1] <= 5
    # Protocols 0 and 1 have no magic; these opcodes begin what people pickle, and the last one ends it.
    return data[:1] in {bytes([one]) for one in b"(c]})lditIUVSXKMJFGN"} and data.rstrip(b"\n")[-1:] == b"."


def _protobuf(data: bytes) -> DetectedFormat | None:
    """ONNX and SavedModel: fields that reach exactly to the end, of numbers and types that only this schema has."""
    seen = _top_fields(data)
    if seen is None:
        return None
    numbers = {number: value for number, _, value in seen}
    kinds = {(number, wire) for number, wire, _ in seen}
    if (1, 0) in kinds and (2, 2) in kinds and kinds <= {(1, 0), (2, 2)}:
        return DetectedFormat(format=Format.SAVED_MODEL)
    if (7, 2) not in kinds or not ({(1, 0), (8, 2)} & kinds) or not kinds <= _ONNX_FIELDS:
        return None
    texts = [part.decode("utf-8", "replace") for number in (2, 3) if isinstance(part := numbers.get(number), bytes)]
    version = numbers.get(1)
    return DetectedFormat(
        format=Format.ONNX, version=f"IR {version}" if isinstance(version, int) else "", framework=_printable(" ".join(texts))
    )


def _top_fields(data: bytes) -> list[tuple[int, int, int | bytes]] | None:
    """The outermost protobuf fields: number, wire type, value (of bytes the first 40); None when they do not reach the end."""
    at = 0
    fields: list[tuple[int, int, int | bytes]] = []
    while at < len(data):
        key, at = _varint(data, at)
        number, wire = key >> 3, key & 7
        value, after = _varint(data, at)
        if at == 0 or after == 0 or number == 0 or wire not in {0, 2} or len(fields) > 1_000_000:
            return None
        if wire == 0:
            fields.append((number, wire, value))
            at = after
            continue
        if value > len(data) - after:
            return None
        fields.append((number, wire, data[after : after + min(value, 40)]))
        at = after + value
    return fields


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number, and where the next field begins; 0 there when it is cut off."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            return 0, 0
        value |= (data[at] & 0x7F) << shift
        at += 1
        if data[at - 1] < 0x80:
            return value, at
    return 0, 0


def _ubjson(data: bytes) -> DetectedFormat | None:
    if data.startswith((b"{L", b"{U", b"{i")) and b"learner" in data[:64]:
        return DetectedFormat(format=Format.XGBOOST_UBJ)
    return None


def _xgboost_binary(data: bytes) -> DetectedFormat | None:
    """136 bytes of parameters, then the objective and the booster as counted texts."""
    start = 136 + (4 if data.startswith(b"binf") else 0)
    objective, after = _counted(data, start)
    booster, _ = _counted(data, after)
    if re.fullmatch(rb"[a-z]{2,12}:[a-z0-9_]{2,30}", objective) and booster in {b"gbtree", b"gblinear", b"dart"}:
        return DetectedFormat(format=Format.XGBOOST_BINARY)
    return None


def _counted(data: bytes, at: int) -> tuple[bytes, int]:
    if len(data) < at + 8:
        return b"", at
    length = int(struct.unpack_from("<Q", data, at)[0])
    return (data[at + 8 : at + 8 + length], at + 8 + length) if length <= 64 else (b"", at)


def _safetensors(data: bytes) -> DetectedFormat | None:
    if len(data) < 10 or data[8:9] != b"{":
        return None
    length = int(struct.unpack_from("<Q", data)[0])
    inside = 2 <= length <= min(len(data) - 8, 100 * 2**20) and data[8 + length - 1 : 8 + length].strip() in {b"}", b""}
    return DetectedFormat(format=Format.SAFETENSORS) if inside and b'"dtype"' in data[8 : 8 + length] else None


def _text(data: bytes) -> DetectedFormat | None:
    """LightGBM's text and XML's PMML."""
    head = data[:_HEAD].lstrip(b"\xef\xbb\xbf \t\r\n")
    if lightgbm := re.match(rb"tree\r?\nversion=(v\d{1,2})\r?\n", head):
        return DetectedFormat(format=Format.LIGHTGBM, version=lightgbm[1].decode())
    if head.startswith(b"<") and (pmml := re.search(rb"<PMML[^>]{0,400}?version=[\"']([\d.]{1,6})", head)):
        return DetectedFormat(format=Format.PMML, version=pmml[1].decode())
    return None


def _json(data: bytes) -> DetectedFormat | None:
    """JSON models, by their outermost keys."""
    if not data[:64].lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
        return None
    try:
        plain = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return _by_keys(plain)


def _by_keys(plain: dict[str, Any]) -> DetectedFormat | None:
    if "learner" in plain:
        version = plain.get("version")
        return DetectedFormat(
            format=Format.XGBOOST_JSON, version=".".join(str(part) for part in version[:3]) if isinstance(version, list) else ""
        )
    if plain.get("name") == "tree" and "tree_info" in plain:
        return DetectedFormat(format=Format.LIGHTGBM_JSON, version=_printable(plain.get("version")))
    if "class_name" in plain and "config" in plain:
        return DetectedFormat(format=Format.KERAS_JSON, version=_printable(plain.get("keras_version")))
    return None


def _printable(text: Any) -> str:
    return "".join(sign for sign in text if sign.isprintable())[:80] if isinstance(text, str) else ""


def _has_zip_end(data: bytes) -> bool:
    return b"PK\x05\x06" in data[-66_000:] and zipfile.is_zipfile(io.BytesIO(data))


def _inflate(data: bytes, window: int) -> bytes:
    return zlib.decompressobj(window).decompress(data, _MAX_LOOKED)


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
    "bz2": lambda data: bz2.BZ2Decompressor().decompress(data, _MAX_LOOKED),
    "xz": lambda data: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=256 * 2**20).decompress(data, _MAX_LOOKED),
    "lzma": lambda data: lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=256 * 2**20).decompress(data, _MAX_LOOKED),
}
#: How torch.save began before it wrote zips: protocol 2, then a number of its own.
_TORCH_MAGIC = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."
#: (number, wire type) of ModelProto's fields.
_ONNX_FIELDS = frozenset({(1, 0), (5, 0), *((number, 2) for number in (2, 3, 4, 6, 7, 8, 14, 20, 25, 26))})
_TESTS = (_magic, _zip, _compressed, _pickle, _protobuf, _ubjson, _xgboost_binary, _safetensors, _text, _json)
