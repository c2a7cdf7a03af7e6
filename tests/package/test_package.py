"""Opening a package: only unchanged packages open."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import relevo
from relevo.domain.manifest import FORMAT
from relevo.errors import (
    BrokenImageError,
    DigestMismatchError,
    GoldenMismatchError,
    InvalidInputError,
    InvalidManifestError,
    InvalidOnnxError,
    MissingFileError,
    PackageError,
    RelevoError,
    UnexpectedFileError,
    UnknownFormatError,
)
from relevo.package.archive import zip_bytes
from relevo.package.package import digest_line, load_runnable, replay_golden, verify_files

if TYPE_CHECKING:
    from pathlib import Path

    from relevo.package.package import Package


def _resealed(content: dict[str, bytes], /, **changes: object) -> dict[str, bytes]:
    """The files with another manifest and a matching digest, as from a forger."""
    plain = json.loads(content["manifest.json"]) | changes
    data = json.dumps(plain).encode()
    return {**content, "manifest.json": data, "manifest.sha256": digest_line(data)}


def _replaced(files: dict[str, bytes], path: str, content: bytes) -> dict[str, bytes]:
    """The files with one replaced, and a manifest with its digest."""
    digests = json.loads(files["manifest.json"])["files"] | {path: hashlib.sha256(content).hexdigest()}
    return _resealed({**files, path: content}, files=digests)


def test_a_folder_and_its_zip_are_the_same_package(digits_package: Package, tmp_path: Path) -> None:
    """Both open, have the same digest, and predict the same."""
    folder, archive = tmp_path / "digits", tmp_path / "digits.zip"
    digits_package.write(folder)
    digits_package.write(archive)
    from_folder, from_zip = relevo.open(folder), relevo.open(archive)
    assert from_folder.digest == from_zip.digest == digits_package.digest
    picture = from_folder.golden.payloads[0]
    assert from_folder.predict(picture) == from_zip.predict(picture)


def test_an_opened_package_answers_its_golden_examples(digits_package: Package) -> None:
    """The replay difference is within the manifest's tolerance, for the package and for its runnable model."""
    assert replay_golden(digits_package) <= digits_package.manifest.golden_tolerance
    assert replay_golden(load_runnable(digits_package), digits_package.golden) < 1e-9


def test_many_answers_come_in_order(digits_package: Package) -> None:
    """`predict_many` equals repeated `predict`."""
    payloads = digits_package.golden.payloads[:5]
    for together, alone in zip(digits_package.predict_many(payloads), map(digits_package.predict, payloads), strict=True):
        assert together.predicted_label == alone.predicted_label
        assert together.probabilities == pytest.approx(alone.probabilities, abs=1e-12)
    picture = payloads[2]
    assert isinstance(picture, bytes)
    with pytest.raises(BrokenImageError, match=r"^inputs\[2\]: "):
        digits_package.predict_many([*payloads[:2], picture[:60]])
    with pytest.raises(InvalidInputError, match="this is a str"):
        digits_package.predict("a.png")  # type: ignore[arg-type]  # what people try


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_flipped_bit_is_refused(small_package: Package, data: st.DataObject) -> None:
    """A package with a changed byte in any file does not open."""
    files = small_package.files()
    path = data.draw(st.sampled_from(sorted(files)))
    position = data.draw(st.integers(0, len(files[path]) - 1))
    broken = bytearray(files[path])
    broken[position] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(PackageError):
        verify_files({**files, path: bytes(broken)})


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_a_damaged_zip_is_refused_or_the_very_same(
    small_package: Package, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """A changed bit in a zip is rejected, or does not affect the content."""
    whole = bytearray(zip_bytes(small_package.files()))
    whole[data.draw(st.integers(0, len(whole) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path = tmp_path_factory.mktemp("flip") / "small.zip"
    path.write_bytes(whole)
    try:
        opened = relevo.open(path)
    except PackageError:
        return
    assert opened.digest == small_package.digest


@pytest.mark.parametrize("path", ["manifest.json", "manifest.sha256", "model.onnx", "golden/scores.npy", "card.md"])
def test_a_missing_file_is_named(small_package: Package, path: str) -> None:
    """The error for an incomplete package names the missing file."""
    files = small_package.files()
    del files[path]
    with pytest.raises(MissingFileError) as refusal:
        verify_files(files)
    assert refusal.value.facts["path"] == path


def test_a_tampered_file_is_named(small_package: Package) -> None:
    """The error for a changed file names it, even if it is only the card."""
    with pytest.raises(DigestMismatchError, match=r"card\.md"):
        verify_files({**small_package.files(), "card.md": b"# trust me\n"})


def test_an_unexpected_file_is_named(small_package: Package) -> None:
    """Rejects a file that the manifest does not name."""
    with pytest.raises(UnexpectedFileError, match=r"extra\.py"):
        verify_files({**small_package.files(), "extra.py": b"print()"})


def test_a_format_of_the_future_is_refused_by_its_number(small_package: Package) -> None:
    """The error names the unknown format and the supported ones."""
    with pytest.raises(UnknownFormatError, match=rf"format 99; this Relevo reads formats 1 to {FORMAT}"):
        verify_files(_resealed(small_package.files(), format=99))


@pytest.mark.parametrize("change", [{"nmae": "x"}, {"name": "../etc"}, {"output": {"name": "scores", "labels": ["a"]}}])
def test_a_manifest_that_contradicts_itself_is_refused(small_package: Package, change: dict[str, object]) -> None:
    """Rejects unknown keys, names that are paths and a single label, even with a matching digest."""
    with pytest.raises(InvalidManifestError):
        verify_files(_resealed(small_package.files(), **change))


def test_a_package_must_be_the_one_that_was_asked_for(small_package: Package, tmp_path: Path) -> None:
    """With a digest given, another valid package is rejected."""
    small_package.write(tmp_path / "p")
    assert relevo.open(tmp_path / "p", digest=small_package.digest).digest == small_package.digest
    with pytest.raises(DigestMismatchError):
        relevo.open(tmp_path / "p", digest="0" * 64)


def test_the_onnx_is_audited_before_it_is_loaded(small_package: Package) -> None:
    """A model file that is no ONNX is rejected at opening, even if its digest matches."""
    with pytest.raises(InvalidOnnxError):
        verify_files(_replaced(small_package.files(), "model.onnx", b"\x00not onnx"))


def test_golden_scores_that_are_not_the_models_are_found(small_package: Package) -> None:
    """The replay detects a forged expected score with a matching digest."""
    from relevo.package.npz import array_bytes

    scores = small_package.golden.scores.copy()
    scores[2] += 0.01
    forged = verify_files(_replaced(small_package.files(), "golden/scores.npy", array_bytes(scores)))
    with pytest.raises(GoldenMismatchError) as refusal:
        replay_golden(forged)
    assert refusal.value.facts["example"] == 2


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[1]", b'{"kind":"record"}', b'{"kind":"image","files":["../../manifest.json"]}', b"\xff"]
)
def test_a_broken_golden_index_is_refused(small_package: Package, content: bytes) -> None:
    """Any invalid golden.json gives a PackageError, and no other error."""
    with pytest.raises(PackageError):
        verify_files(_replaced(small_package.files(), "golden/golden.json", content))


def test_broken_metrics_are_refused_when_read(small_package: Package) -> None:
    """Invalid JSON in metrics.json gives a PackageError."""
    package = verify_files(_replaced(small_package.files(), "metrics.json", b"{"))
    with pytest.raises(PackageError):
        _ = package.metrics
    assert small_package.metrics == {}


@settings(max_examples=60, deadline=None)
@given(noise=st.binary(max_size=300))
def test_noise_is_refused_as_a_package(noise: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Random bytes give a RelevoError, and no other error."""
    path = tmp_path_factory.mktemp("noise") / "x.zip"
    for content in (noise, b"PK\x03\x04" + noise):
        path.write_bytes(content)
        with pytest.raises(RelevoError):
            relevo.open(path)


def test_scores_are_probabilities_of_the_original(digits_package: Package) -> None:
    """Golden scores are the original's own, one row per example and one column per label."""
    scores = digits_package.golden.scores
    assert scores.shape == (len(digits_package.golden), 10)
    assert np.allclose(scores.sum(axis=1), 1)
