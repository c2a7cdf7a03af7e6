"""Manifests: strict parsing, upgrades of older formats, and a canonical digest."""

from __future__ import annotations

import contextlib
import hashlib
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relevo.domain import manifest as manifests
from relevo.domain.manifest import FORMAT, Manifest, parse
from relevo.errors import InvalidManifestError, UnknownFormatError

if TYPE_CHECKING:
    import random

RECORD: dict[str, Any] = {
    "format": FORMAT,
    "name": "churn",
    "input": {
        "type": "record",
        "fields": [
            {"name": "tenure", "kind": "integer", "minimum": 0},
            {"name": "contract", "kind": "category", "categories": ["month", "year"]},
        ],
    },
    "steps": {
        "type": "matrix",
        "input": "x",
        "columns": [{"field": "tenure"}, {"field": "contract", "equals": "month"}],
    },
    "output": {"name": "y", "labels": ["stays", "leaves"]},
    "decision": {"type": "thresholds", "accept_at": 0.8, "reject_at": 0.2},
    "lineage": {"framework": "scikit-learn 1.5", "parity": {"reference": "original", "samples": "user", "rows": 10}},
    "files": {"model.onnx": "0" * 64},
}
IMAGE: dict[str, Any] = {
    **RECORD,
    "name": "digits",
    "input": {"type": "image", "width": 8, "height": 8, "mode": "L"},
    "steps": {"type": "image", "input": "x"},
    "decision": {"type": "argmax"},
}


def bytes_of(plain: Any) -> bytes:
    return json.dumps(plain).encode()


def with_value(plain: dict[str, Any], *path: Any, to: Any) -> dict[str, Any]:
    """A deep copy with one value replaced."""
    copy: dict[str, Any] = json.loads(json.dumps(plain))
    target: Any = copy
    for step in path[:-1]:
        target = target[step]
    target[path[-1]] = to
    return copy


@pytest.mark.parametrize("plain", [RECORD, IMAGE])
def test_a_manifest_written_is_the_manifest_read(plain: dict[str, Any]) -> None:
    """Canonical bytes parse to the same value and encode to the same bytes."""
    manifest = parse(bytes_of(plain))
    assert parse(manifest.to_bytes()) == manifest
    assert parse(manifest.to_bytes()).to_bytes() == manifest.to_bytes()
    assert manifest.digest() == hashlib.sha256(manifest.to_bytes()).hexdigest()


@given(st.randoms(use_true_random=False))
def test_the_digest_is_that_of_the_meaning(shuffle: random.Random) -> None:
    """Key order and white space do not change the digest; the order of labels does."""

    def shuffled(value: Any) -> Any:
        if isinstance(value, dict):
            keys = list(value)
            shuffle.shuffle(keys)
            return {key: shuffled(value[key]) for key in keys}
        return [shuffled(item) for item in value] if isinstance(value, list) else value

    expected = parse(bytes_of(RECORD)).digest()
    assert parse(json.dumps(shuffled(RECORD), indent=shuffle.randint(0, 4)).encode()).digest() == expected
    assert parse(bytes_of(with_value(RECORD, "output", "labels", to=["leaves", "stays"]))).digest() != expected


@pytest.mark.parametrize(
    "path",
    [
        ("x",),
        ("input", "x"),
        ("input", "fields", 0, "x"),
        ("steps", "x"),
        ("output", "x"),
        ("decision", "x"),
        ("lineage", "parity", "x"),
    ],
)
def test_an_unknown_key_is_refused_at_every_depth(path: tuple[Any, ...]) -> None:
    """An unknown key is rejected by name at every depth."""
    with pytest.raises(InvalidManifestError, match="x"):
        parse(bytes_of(with_value(RECORD, *path, to=1)))


@pytest.mark.parametrize(
    ("plain", "told"),
    [
        (with_value(RECORD, "name", to="Churn"), "name"),
        (with_value(RECORD, "name", to=""), "name"),
        (with_value(RECORD, "name", to="../churn"), "name"),
        (with_value(RECORD, "name", to="-x"), "name"),
        (with_value(RECORD, "name", to="x" * 65), "name"),
        (with_value(RECORD, "output", "labels", to=["one"]), "two labels"),
        (with_value(RECORD, "output", "labels", to=["a", "a"]), "twice"),
        (with_value(RECORD, "output", "labels", to=["a", "b", "c"]), "two labels"),
        (with_value(RECORD, "decision", to={"type": "thresholds", "accept_at": 0.2, "reject_at": 0.8}), "reject <= accept"),
        (with_value(RECORD, "decision", to={"type": "thresholds", "accept_at": 1.2, "reject_at": 0.8}), "bands"),
        (with_value(RECORD, "decision", to={"type": "argmax", "min_confidence": 1.5}), "min_confidence"),
        (with_value(RECORD, "answer", to={"churn": "is:left"}), "'left'"),
        (with_value(RECORD, "input", "fields", to=[]), "distinct names"),
        (with_value(RECORD, "input", "fields", 1, "name", to="tenure"), "distinct names"),
        (with_value(RECORD, "steps", "columns", 0, "field", to="tenur"), "tenur"),
        (with_value(RECORD, "steps", to=IMAGE["steps"]), "matrix or column"),
        (with_value(IMAGE, "steps", to=RECORD["steps"]), "image steps"),
        (with_value(IMAGE, "input", "width", to=0), "width"),
        (with_value(IMAGE, "input", "height", to=5000), "height"),
        (with_value(RECORD, "input", "type", to="sound"), "sound"),
        ({"format": FORMAT}, "name"),
    ],
)
def test_parts_that_contradict_each_other_are_refused(plain: dict[str, Any], told: str) -> None:
    """Each contradiction between sections is rejected with a specific message."""
    with pytest.raises(InvalidManifestError, match=told):
        parse(bytes_of(plain))


@pytest.mark.parametrize("found", [0, -1, FORMAT + 1, 999])
def test_a_format_from_elsewhere_is_refused_by_number(found: int) -> None:
    """An unknown format number is rejected before anything else is parsed."""
    with pytest.raises(UnknownFormatError, match=str(found)):
        parse(bytes_of({"format": found, "whatever": True}))


@pytest.mark.parametrize(
    "data", [b"", b"null", b"[]", b"{}", b'{"format": "1"}', b'{"format": true}', b"\xff", b"[" * 100_000, b'{"format": 1']
)
def test_what_is_no_manifest_is_refused(data: bytes) -> None:
    """Rejects invalid JSON, and JSON without a format number."""
    with pytest.raises(InvalidManifestError):
        parse(data)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_manifest_or_refused(data: bytes) -> None:
    """No bytes raise anything but the two documented errors."""
    with contextlib.suppress(InvalidManifestError, UnknownFormatError):
        assert isinstance(parse(data), Manifest)


def test_an_older_format_is_lifted_step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """UPGRADES are applied in order, one number at a time, up to the current format."""

    def lift(plain: dict[str, Any], number: int) -> dict[str, Any]:
        return {**plain, "format": number + 1, "description": plain.get("description", "") + str(number)}

    monkeypatch.setattr(manifests, "FORMAT", 3)
    monkeypatch.setattr(manifests, "UPGRADES", {1: lambda plain: lift(plain, 1), 2: lambda plain: lift(plain, 2)})
    assert [parse(bytes_of({**RECORD, "format": number})).description for number in (1, 2, 3)] == ["12", "2", ""]


def test_every_former_format_has_a_way_up() -> None:
    """Fails if FORMAT is increased without an upgrade from the former number."""
    assert set(manifests.UPGRADES) == set(range(1, FORMAT))


@pytest.mark.parametrize(
    "path",
    [
        ("description",),
        ("output", "labels", 0),
        ("output", "name"),
        ("output", "unit"),
        ("input", "fields", 0, "name"),
        ("input", "fields", 0, "unit"),
    ],
)
@pytest.mark.parametrize("sign", ["\x1b", "\x9b", "\u202e", "\r"])
def test_words_that_steer_a_terminal_are_refused(path: tuple[Any, ...], sign: str) -> None:
    """A label, name, unit or description with a control character is rejected with an escaped message."""
    plain = with_value(RECORD, "output", "unit", to="")
    plain = with_value(plain, "input", "fields", 0, "unit", to="")
    with pytest.raises(InvalidManifestError, match="control character") as refused:
        parse(bytes_of(with_value(plain, *path, to=f"a{sign}b")))
    assert sign not in str(refused.value)


def test_a_description_may_have_lines_and_words_their_writing() -> None:
    """Line breaks in a description and direction marks of Hebrew and Arabic are allowed."""
    plain = with_value(RECORD, "description", to="First.\nSecond.")
    assert parse(bytes_of(with_value(plain, "output", "labels", to=["שלום\u200f", "لا"]))).description == "First.\nSecond."
