"""The summary after an import or a training, in particular how parity was tested."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec
import pytest

from relevo.cli.package_summary import proof, reason, scores, summary
from relevo.cli.translate import set_language, translate
from relevo.domain.decision import ArgmaxDecision
from relevo.domain.manifest import FORMAT, Lineage, Manifest, Parity
from relevo.domain.preprocessing import Column, MatrixSteps
from relevo.domain.signature import Field, FieldKind, Output, RecordInput, Task
from relevo.package.card.model_card import write_card
from relevo.store.registry import Version

if TYPE_CHECKING:
    from collections.abc import Iterator

    from relevo.package.package import Package

CASES = {
    "original": "answers as the original, read by scikit-learn 1.9.1, on 64 samples",
    "original in scikit-learn 0.24.2": "answers as the original in scikit-learn 0.24.2 on 64 samples",
    "supplied": "answers as the outputs you gave on 64 samples",
    "none": "NOT PROVED",
}
MANIFEST = Manifest(
    format=FORMAT,
    name="m",
    input=RecordInput(fields=(Field(name="x", kind=FieldKind.NUMBER),)),
    steps=MatrixSteps(input="x", columns=(Column(field="x"),)),
    output=Output(name="y", task=Task.REGRESSION),
    decision=ArgmaxDecision(),
    lineage=Lineage(
        framework="scikit-learn 0.24.2",
        converter={"scikit-learn": "1.9.1"},
        parity=Parity(reference="none", samples="user", rows=64, largest_difference=1e-7),
    ),
)


def against(word: str) -> Manifest:
    lineage = msgspec.structs.replace(MANIFEST.lineage, parity=msgspec.structs.replace(MANIFEST.lineage.parity, reference=word))
    return msgspec.structs.replace(MANIFEST, lineage=lineage)


@pytest.mark.parametrize(("word", "expected"), CASES.items())
def test_whose_word_it_is_is_said(word: str, expected: str) -> None:
    """Current library, original library version, or supplied outputs; a clear statement without a parity test."""
    assert expected in proof(against(word).lineage)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("original", "the original model answered the same"),
        ("original in scikit-learn 0.24.2", "read by scikit-learn 0.24.2 in an environment of its own time, answered the same"),
        ("supplied", "which the user gave, are the same"),
        ("none", "**NOT PROVED.**"),
    ],
)
def test_the_card_says_it_too(word: str, expected: str) -> None:
    """The model card contains the same statement about parity."""
    assert expected in write_card(against(word), {}, [], profiled=False)


@pytest.fixture
def _in_spanish() -> Iterator[None]:
    set_language("es")
    yield
    set_language("en")


@pytest.mark.usefixtures("_in_spanish")
def test_a_training_is_told_in_spanish_throughout(digits_package: Package) -> None:
    """All names are translated and aligned in one column; the default reason is translated, too."""
    lines = summary(digits_package, None, "champion", began=datetime.now(UTC)).splitlines()
    names = [line.partition("  ")[0] for line in lines]
    assert names == ["paquete", "exactitud", "pérdida logarítmica", "F1 macro", "filas", "prueba"]
    assert len({len(line) - len(line[len(name) :].lstrip()) for name, line in zip(names, lines, strict=True)}) == 1
    assert translate("accuracy when sure") == "exactitud sin dudosas"
    assert reason("trained", "trained") == "entrenado"
    assert reason("no file", "trained") == "no file"


@pytest.mark.parametrize(
    ("champion", "words"),
    [
        (1, "digits 1, named vgg19 and champion"),
        (3, "answers version 3; `relevo models alias digits champion 1` lets the new one answer"),
    ],
)
def test_who_answers_is_told(digits_package: Package, champion: int, words: str) -> None:
    """A version under another alias is champion too, or the summary names the champion and how to change it."""
    at = datetime(2026, 1, 1, tzinfo=UTC)
    version = Version(model="digits", number=1, digest="d" * 64, summary={}, at=at, author="ana")
    line = " ".join(summary(digits_package, version, "vgg19", began=at, champion=champion).split())
    assert words in line


def test_an_import_tells_what_the_scores_are(digits_package: Package) -> None:
    """The summary names the kind of the scores."""
    lines = summary(digits_package, None, "champion", began=datetime.now(UTC), imported=True).splitlines()
    assert next(line for line in lines if line.startswith("scores")).split() == ["scores", "probabilities"]
    kinds = [Output(name="y", labels=("a", "b"), activation=one) for one in ("none", "softmax", "sigmoid", "percent", "clip")]
    kinds += [Output(name="y", labels=("a", "b"), independent=True), Output(name="y", task=Task.REGRESSION)]
    assert len({scores(kind) for kind in kinds}) == len(kinds)
