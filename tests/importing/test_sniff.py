"""The format of a file follows from its bytes, never from its name."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import pickle
import struct
import zipfile
import zlib
from contextlib import suppress
from typing import TYPE_CHECKING

import joblib  # type: ignore[import-untyped]  # it ships no types
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.hostile_files import MODELS, pickle_running, real_model, vectorizer_and_model

from relevo.errors import ImportModelError, UnknownFileFormatError
from relevo.importing.formats import IMPORTABLE, SUGGESTIONS, DetectedFormat, Format
from relevo.importing.sniff import refuse_unless_importable, sniff, sniff_path

if TYPE_CHECKING:
    from pathlib import Path

PAIR = pickle.dumps(vectorizer_and_model(), protocol=4)


def zip_of(*names: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name in names:
            archive.writestr(name, "{}")
    return out.getvalue()


def old_xgboost(prefix: bytes = b"") -> bytes:
    texts = b"".join(struct.pack("<Q", len(text)) + text for text in (b"binary:logistic", b"gbtree"))
    return prefix + bytes(136) + texts + bytes(100)


MAGIC_BYTES = [
    (b"\x89HDF\r\n\x1a\n" + bytes(100), Format.KERAS_H5),
    (zip_of("config.json", "metadata.json", "model.weights.h5"), Format.KERAS_ZIP),
    (zip_of("archive/data.pkl", "archive/version"), Format.TORCH),
    (zip_of("net/models/model.json", "net/archive_format", "net/version"), Format.TORCH_EXPORT),
    (zip_of("serialized_exported_program.json", "serialized_state_dict.pt", "version"), Format.TORCH_EXPORT),
    (zip_of("net/data.pkl", "net/constants.pkl", "net/code/__torch__.py"), Format.TORCHSCRIPT),
    (zip_of("model/manifest.json", "model/model.onnx"), Format.PACKAGE),
    (zip_of("schema.json"), Format.SKOPS),
    (b'{"learner": {}, "version": [2, 0, 1]}', Format.XGBOOST_JSON),
    (b"{L" + struct.pack(">Q", 7) + b"learner{", Format.XGBOOST_UBJ),
    (old_xgboost(), Format.XGBOOST_BINARY),
    (old_xgboost(b"binf"), Format.XGBOOST_BINARY),
    (b"tree\nversion=v4\nnum_class=1\n", Format.LIGHTGBM),
    (b'{"name": "tree", "version": "v3", "tree_info": []}', Format.LIGHTGBM_JSON),
    (b'<?xml version="1.0"?><PMML xmlns="http://www.dmg.org/PMML-4_2" version="4.2"></PMML>', Format.PMML),
    (b'{"class_name": "Sequential", "config": [], "keras_version": "2.0.4"}', Format.KERAS_JSON),
    (b"\x08\x01\x12\x02\x0a\x00", Format.SAVED_MODEL),
    (b"\x1c\x00\x00\x00TFL3" + bytes(20), Format.TFLITE),
    (b"\x1c\x00\x00\x00ORTM" + bytes(20), Format.ORT),
    (b"CBM1" + bytes(20), Format.CATBOOST),
    (struct.pack("<Q", 54) + b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}' + bytes(4), Format.SAFETENSORS),
    (b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19." + PAIR, Format.TORCH),
]


@pytest.mark.parametrize(
    ("data", "expected"), MAGIC_BYTES, ids=[f"{expected.name}-{position}" for position, (_, expected) in enumerate(MAGIC_BYTES)]
)
def test_each_format_is_known_by_its_bytes(data: bytes, expected: Format) -> None:
    """A format is detected from its first bytes; an importable one is accepted, any other rejected by its name."""
    detected = sniff(data)
    assert detected.format is expected
    if expected in IMPORTABLE:
        refuse_unless_importable(detected)
        return
    with pytest.raises(ImportModelError, match="already" if expected is Format.PACKAGE else expected.value):
        refuse_unless_importable(detected)


@pytest.mark.parametrize("protocol", range(6))
def test_pickles_of_every_protocol_tell_their_version(protocol: int) -> None:
    """Protocols 0 to 5 are detected as pickles, with scikit-learn's version from the opcodes."""
    import sklearn

    detected = sniff(pickle.dumps(vectorizer_and_model(), protocol=protocol))
    assert detected.format is Format.PICKLE
    assert detected.framework == f"scikit-learn {sklearn.__version__}"
    assert detected.scan
    assert detected.scan.protocol == (protocol if protocol > 1 else 0)


@pytest.mark.parametrize("name", ["", "zlib", "gzip", "bz2", "xz", "lzma"])
def test_joblib_is_a_pickle_and_its_compression_is_named(name: str, tmp_path: Path) -> None:
    """Joblib's raw arrays do not hide the version behind them, and the compression is named."""
    import sklearn

    path = tmp_path / "model"
    joblib.dump(vectorizer_and_model(), path, compress=(name, 3) if name else 0)
    detected = sniff_path(path)
    assert (detected.format, detected.compression) == (Format.PICKLE, name)
    assert detected.framework == f"scikit-learn {sklearn.__version__}"
    assert detected.scan
    assert detected.scan.complete


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"", "empty"),
        (b"\x00" * 500, "no model file"),
        (b"%PDF-1.7\n", "no model file"),
        (b"hello, world.", "no model file"),
        (b'{"a": 1}', "no model file"),
        (b"PK\x03\x04 cut off", "damaged zip"),
        (zip_of("model.pkl"), "unpack it"),
        (gzip.compress(b"nothing", mtime=0), "gzip"),
        (bz2.compress(b"nothing"), "bz2"),
        (lzma.compress(b"nothing"), "xz"),
        (zlib.compress(b"nothing"), "no model file"),
        (PAIR + b"more", "more bytes"),
        (PAIR + zip_of("manifest.json", "model.onnx"), "more bytes"),
        (b"tree\nversion=v4\n" + zip_of("a"), "zip archive behind"),
    ],
)
def test_what_is_no_model_is_refused(data: bytes, word: str) -> None:
    """Empty, unknown, damaged and ambiguous files are rejected with the reason."""
    with pytest.raises(UnknownFileFormatError, match=word):
        sniff(data)


@pytest.mark.parametrize("refused", sorted(set(Format) - set(IMPORTABLE) - {Format.PACKAGE}))
def test_each_refused_format_says_what_to_do(refused: Format) -> None:
    """Every rejected format comes with a suggestion."""
    with pytest.raises(ImportModelError) as caught:
        refuse_unless_importable(DetectedFormat(format=refused))
    assert SUGGESTIONS[refused] in str(caught.value)


def test_a_pickle_renamed_is_still_a_pickle(tmp_path: Path) -> None:
    """The file name is ignored."""
    path = tmp_path / "model.onnx"
    path.write_bytes(pickle_running("pass"))
    assert sniff_path(path).format is Format.PICKLE


def test_folders_are_known_by_what_lies_in_them(tmp_path: Path) -> None:
    """A SavedModel folder is detected; an empty folder is rejected."""
    with pytest.raises(UnknownFileFormatError, match="folder"):
        sniff_path(tmp_path)
    (tmp_path / "saved_model.pb").write_bytes(b"\x08\x01")
    assert sniff_path(tmp_path).format is Format.SAVED_MODEL
    with pytest.raises(UnknownFileFormatError, match="no such file"):
        sniff_path(tmp_path / "absent")


@settings(max_examples=300, deadline=3000)
@given(st.binary(max_size=300) | st.builds(lambda cut, tail: PAIR[:cut] + tail, st.integers(0, len(PAIR)), st.binary(max_size=40)))
def test_any_bytes_end_in_a_format_or_a_refusal(data: bytes) -> None:
    """Any bytes give a format or UnknownFileFormatError in bounded time."""
    with suppress(UnknownFileFormatError):
        sniff(data)


def test_a_compression_bomb_is_unpacked_to_a_bound_only() -> None:
    """A gzip of 256 MiB of zeros is rejected without being unpacked completely."""
    bomb = gzip.compress(bytes(2**28), 1)
    with pytest.raises(UnknownFileFormatError):
        sniff(bomb)


KINDS = {
    "ONNX": Format.ONNX,
    "HDF5": Format.KERAS_H5,
    "PMML": Format.PMML,
    "UBJSON": Format.XGBOOST_UBJ,
    "XGBoost binary (binf)": Format.XGBOOST_BINARY,
    "XGBoost binary/other": Format.XGBOOST_BINARY,
    "LightGBM text": Format.LIGHTGBM,
}


def test_real_files_are_detected() -> None:
    """Every model of the collected corpus is detected as its manifest says, with its version."""
    manifest = real_model("MANIFEST.csv")
    with manifest.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    count = 0
    for path in sorted(MODELS.rglob("*")):
        if not path.is_file() or path.suffix not in {".bin", ".joblib", ".pickle", ".pkl", ".onnx", ".h5", ".pmml", ".ubj", ".bst"}:
            continue
        detected = sniff_path(path)
        manifest_row = next((row for row in rows if row["file"] == str(path.relative_to(MODELS))), None)
        text = json.dumps(manifest_row)
        kind = next((kind for word, kind in KINDS.items() if word in text), None)
        assert detected.format is (kind or detected.format), path
        assert detected.format in IMPORTABLE or kind, path
        if detected.format is Format.PICKLE:
            assert detected.framework.removeprefix("scikit-learn ") in text, path
        count += 1
    assert count > 20
