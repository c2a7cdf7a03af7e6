"""Writes reference/imported-files.md: what became of every model file that strangers left in public repositories.

    FILES: a file, what a person tells, what its answers are held against ─ import_model ─┬─ package ─ asked ─► largest difference
    any other file of the folder ─────────────────────────────────────────────────────────┴─ refused ─────────► the reason

The files are found by RELEVO_TEST_DATA (default ../shared/data); without them the page stays as it is. A relative difference is
the largest within a row over the row's largest value. `--only TEXT` tries the files whose path holds the text, and writes nothing.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from relevo.domain.decision import probabilities_of
from relevo.domain.signature import RecordInput, Task
from relevo.errors import RelevoError
from relevo.importing.import_model import import_model
from relevo.importing.sniff import sniff_path
from relevo.package.package import load_runnable
from relevo.package.parity import in_batches

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from relevo.package.package import Package

PAGE = Path(__file__).parent / "reference" / "imported-files.md"
DATA = Path(os.environ.get("RELEVO_TEST_DATA", Path(__file__).parents[2] / "shared" / "data")) / "models"
#: The largest relative difference, and the longest a refusal may take, in seconds.
TOLERANCE, PATIENCE = 1e-5, 10.0
#: What lies beside the models and is none.
_BESIDE = ("README.md", "MANIFEST.csv", "SHA256SUMS", "LICENSE", "LICENSE.md")
_DATA_ENDINGS = (".libsvm", ".tsv", "_true_predictions.txt", "_raw_predictions.txt", "_data.txt", "_pred_leaves.txt")
_IRIS = ("setosa", "versicolor", "virginica")
_HOUSES = [
    {"GarageArea": area, "LotArea": 20.0 * area, "OverallQual": quality, "YearBuilt": year, "YrSold": 2009.0, "LotShape": shape}
    | {"MSZoning": zone}
    for area, quality, year, shape, zone in (
        (548.0, 7.0, 2003.0, "Reg", "RL"),
        (460.0, 6.0, 1976.0, "IR1", "RM"),
        (0.0, 4.0, 1920.0, "IR2", "FV"),
        (642.0, 8.0, 2000.0, "IR1", "RL"),
    )
]
_DIGITS = tuple(str(digit) for digit in range(10))


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What a person must tell of a file, and what its answers are held against; a plain value."""

    path: str
    options: Mapping[str, Any] = field(default_factory=dict)  # of import_model; paths among them begin with "@"
    samples: str = ""  # a file of rows
    truth: str = ""  # a file with the original library's outputs for these rows
    twin: str = ""  # the same model in another format, imported too
    supply: bool = False  # whether the truth is given to the import too: nothing here can ask the original
    link: str = ""  # what the truth still has to go through: "softmax"
    whole: bool = True  # whether the file holds a whole model that the library which wrote it could load
    note: str = ""


_PICTURE = {"kind": "image", "mode": "L", "size": (28, 28)}
FILES: tuple[Known, ...] = (
    Known(path="mlbookcamp/2021-10/model_C=1.0.bin", options={"labels": ("stays", "leaves")}),
    Known(path="mlbookcamp/2021-homework/model1.bin", options={"vectorizer": "@mlbookcamp/2021-homework/dv.bin"}),
    Known(path="mlbookcamp/2022-homework/model1.bin", options={"vectorizer": "@mlbookcamp/2022-homework/dv.bin"}),
    Known(path="mlbookcamp/2021-homework/dv.bin", whole=False, note="goes with model1.bin, as --vectorizer"),
    Known(path="mlbookcamp/2022-homework/dv.bin", whole=False, note="goes with model1.bin, as --vectorizer"),
    Known(path="n-harish-mnist/mnist.h5", options={"labels": _DIGITS, "preprocess": "01"}, twin="n-harish-mnist/onnx_mnist.onnx"),
    Known(path="n-harish-mnist/onnx_mnist.onnx", options={"labels": _DIGITS, "preprocess": "01"}),
    Known(
        path="ardamavi-dogcat/model.json",
        options={"labels": ("cat", "dog"), "preprocess": "01", "weights": "@ardamavi-dogcat/weights.h5"},
        note="with weights.h5",
    ),
    Known(
        path="ardamavi-dogcat/model.json",
        options={"labels": ("cat", "dog"), "preprocess": "01", "weights": "@ardamavi-dogcat/best_weights.h5"},
        note="with best_weights.h5",
    ),
    Known(path="ardamavi-dogcat/weights.h5", whole=False, note="goes with model.json, as --weights"),
    Known(path="ardamavi-dogcat/best_weights.h5", whole=False, note="goes with model.json, as --weights"),
    Known(
        path="leaves/genlin_fmtp_poisson_Frequency.model",
        samples="leaves/genlin_fmtp_poisson_Frequency_features.tsv",
        truth="leaves/genlin_fmtp_poisson_Frequency_true_predictions.txt",
    ),
    Known(
        path="leaves/genlin_fmtp_tweedie_PurePremium.model",
        samples="leaves/genlin_fmtp_tweedie_PurePremium_features.tsv",
        truth="leaves/genlin_fmtp_tweedie_PurePremium_true_predictions.txt",
    ),
    Known(
        path="leaves/lg_kddcup99.model",
        options={"labels": tuple(str(number) for number in range(13)), "output": "margin"},
        samples="leaves/kddcup99_test.tsv",
        truth="leaves/lg_kddcup99_true_predictions.txt",
    ),
    Known(
        path="leaves/lg_rf_iris.model",
        options={"labels": ("others", "setosa")},
        samples="leaves/iris_test.libsvm",
        truth="leaves/lg_rf_iris_true_predictions.txt",
    ),
    Known(path="leaves/lg_breast_cancer.txt", options={"labels": ("malignant", "benign")}, samples="leaves/breast_cancer_test.tsv"),
    Known(path="leaves/model_simple.txt", options={"labels": ("0", "1")}),
    Known(
        path="leaves/sk_iris.model",
        options={"labels": _IRIS, "releases": ("scikit-learn==0.19.2",), "python": "3.7"},
        samples="leaves/iris_test.libsvm",
        truth="leaves/sk_iris_true_predictions.txt",
        link="softmax",
        note="--with scikit-learn==0.19.2 --python python3.7",
    ),
    Known(
        path="leaves/xgagaricus.model",
        options={"labels": ("edible", "poisonous")},
        samples="leaves/agaricus_test.libsvm",
        truth="leaves/xgagaricus_true_predictions.txt",
        supply=True,
    ),
    Known(
        path="leaves/xgblin_agaricus.model",
        options={"labels": ("edible", "poisonous")},
        samples="leaves/agaricus_test.libsvm",
        truth="leaves/xgblin_agaricus_true_predictions.txt",
        supply=True,
    ),
    Known(
        path="leaves/xgblin_agaricus.model",
        options={"labels": ("edible", "poisonous"), "output": "margin"},
        samples="leaves/agaricus_test.libsvm",
        truth="leaves/xgblin_agaricus_true_raw_predictions.txt",
        supply=True,
        note="its raw scores",
    ),
    Known(
        path="leaves/xg_dart_agaricus.model",
        options={"labels": ("edible", "poisonous"), "output": "margin", "rounds": 10},
        samples="leaves/agaricus_test.libsvm",
        truth="leaves/xg_dart_agaricus_true_predictions.txt",
        supply=True,
        note="raw scores of its first ten rounds, as it was asked",
    ),
    Known(
        path="leaves/decision_tree_regressor.pickle0",
        options={"releases": ("scikit-learn==0.19.2",), "python": "3.7"},
        note="--with scikit-learn==0.19.2 --python python3.7",
    ),
    Known(path="leaves/ndarray.pickle0", whole=False, note="an array, no model"),
    Known(path="leaves/lg_1tree.json", whole=False, note="a dump that LightGBM cannot load"),
    Known(path="leaves/lg_1tree_1leaf.json", whole=False, note="a dump that LightGBM cannot load"),
    Known(path="leaves/tree_1leaf.txt", whole=False, note="one tree cut out of a LightGBM text"),
    Known(path="leaves/tree_2leaves.txt", whole=False, note="one tree cut out of a LightGBM text"),
    Known(path="leaves/tree_3leaves.txt", whole=False, note="one tree cut out of a LightGBM text"),
    Known(path="kserve/lgbserver/example_model/model/2020-12-19_03dce0a_model.bst", options={"labels": _IRIS}),
    Known(
        path="kserve/xgbserver/example_model/ubj_model/2024-04-16_6ef81fe_model.ubj",
        options={"labels": _DIGITS},
        samples="leaves/iris_test.libsvm",
    ),
    Known(
        path="kserve/xgbserver/example_model/bst_model/2024-04-16_808b6d4_model.bst",
        options={"labels": _DIGITS},
        samples="leaves/iris_test.libsvm",
        twin="kserve/xgbserver/example_model/ubj_model/2024-04-16_6ef81fe_model.ubj",
    ),
    Known(
        path="kserve/samples/v1beta1/xgboost/2020-11-10_907d03c_model.bst",
        options={"labels": _DIGITS},
        samples="leaves/iris_test.libsvm",
        twin="kserve/xgbserver/example_model/model/2020-09-16_cebe940_model.bst",
        note="held against the same model as XGBoost 0.82 wrote it",
    ),
    Known(
        path="kserve/xgbserver/example_model/model/2020-09-16_cebe940_model.bst",
        options={"labels": _DIGITS},
        samples="leaves/iris_test.libsvm",
        twin="kserve/samples/v1beta1/xgboost/2020-11-10_907d03c_model.bst",
        note="held against the same model as XGBoost 1.1 wrote it",
    ),
    Known(path="kserve/sklearnserver/mixedtype/model/2023-08-06_3791220_model.joblib", options={"samples": _HOUSES}),
    Known(path="kserve/pmmlserver/example_model/model/2020-11-10_19ad1ae_model.pmml"),
    Known(path="kserve/paddle-cat-dog/cat_dog.json", whole=False, note="a program whose numbers lie in another file"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table."""

    known: Known
    what: str  # format and version, as the bytes tell
    seconds: float
    refusal: str = ""
    difference: float = 0.0
    reference: str = ""


# --- the files that lie there -------------------------------------------------------------------------------------------


def everything() -> Iterator[Known]:
    """Each file of the folder in the order of its path, told of or not; a pickle is trusted here, as a person would have to say."""
    told: dict[str, list[Known]] = {}
    for known in FILES:
        told.setdefault(known.path, []).append(known)
    for path in sorted(path for path in DATA.rglob("*") if path.is_file()):
        name = path.relative_to(DATA).as_posix()
        if path.name not in _BESIDE and not path.name.endswith(_DATA_ENDINGS):
            yield from told.get(name, [Known(path=name)])


def rows_of(name: str) -> NDArray[np.float64]:
    """A matrix (n, features) from numbers between blanks, or from LIBSVM's sparse lines with NaN where nothing stands."""
    lines = [line.split() for line in (DATA / name).read_text().splitlines() if line.strip()]
    if not name.endswith(".libsvm"):
        return np.array(lines, dtype=np.float64)
    pairs = [[(int(at), float(value)) for at, _, value in (cell.partition(":") for cell in line[1:])] for line in lines]
    width = 1 + max(at for row in pairs for at, _ in row)
    table = np.full((len(pairs), width), np.nan)
    for place, row in enumerate(pairs):
        for at, value in row:
            table[place, at] = value
    return table


def truth_of(known: Known) -> NDArray[np.float64]:
    """What the original library answered, (n, columns)."""
    lines = [line.replace(",", " ").split() for line in (DATA / known.truth).read_text().splitlines() if line.strip()]
    said = np.array(lines, dtype=np.float64)
    if known.link == "softmax":
        powers = np.exp(said - said.max(axis=1, keepdims=True))
        said = powers / powers.sum(axis=1, keepdims=True)
    return said


# --- one file -----------------------------------------------------------------------------------------------------------


def tried(known: Known) -> Row:
    """Import one file and hold its answers against what is known."""
    what = _what(DATA / known.path)
    started = time.monotonic()
    try:
        package = _import(known)
        seconds = time.monotonic() - started
        difference, reference = _difference(known, package)
    except RelevoError as refusal:
        return Row(known=known, what=what, seconds=time.monotonic() - started, refusal=str(refusal))
    return Row(known=known, what=what, seconds=seconds, difference=difference, reference=reference)


def _what(path: Path) -> str:
    try:
        seen = sniff_path(path)
    except RelevoError:
        return "unknown"
    return ", ".join(text for text in (f"{seen.format.value} {seen.version}".strip(), seen.framework) if text)


def _import(known: Known, samples: Any = None) -> Package:
    options: dict[str, Any] = {
        key: DATA / value[1:] if isinstance(value, str) and value.startswith("@") else value for key, value in known.options.items()
    }
    if "python" in options:
        options["python"] = _python(str(options["python"]))
    if known.samples:
        options["samples"] = rows_of(known.samples)
        if known.path.endswith("agaricus.model"):
            options["samples"] = _widened(options["samples"], 127)
        if known.supply:
            options["outputs"] = truth_of(known)
    if samples is not None:
        options["samples"] = samples
    # Whether a pickle's author is trusted, a person must say; here we say it of all of them.
    return import_model(DATA / known.path, name="tried", figures=False, **{"trust_pickle": True, **options})


def _python(version: str) -> str:
    """An interpreter of that version: one that starts by its name, or one that pyenv keeps."""
    named = shutil.which(f"python{version}")
    kept = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
    return str(kept[-1]) if kept else named or f"python{version}"


def _widened(table: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """The matrix with columns of NaN up to the model's width."""
    return np.concatenate([table, np.full((len(table), width - table.shape[1]), np.nan)], axis=1)[:, :width]


def _difference(known: Known, package: Package) -> tuple[float, str]:
    """The largest relative difference, and to what."""
    if known.truth:
        theirs = truth_of(known)
        ours = _scores(package, _records(package, rows_of(known.samples)))
        return _relative(ours[:, -theirs.shape[1] :], theirs), f"the predictions beside it, {len(theirs)} rows"
    if known.twin:
        other = _import(next(one for one in FILES if one.path == known.twin))
        payloads = package.golden.payloads
        return _apart(
            package, _scores(package, payloads), _scores(other, payloads)
        ), f"{Path(known.twin).name}, {len(payloads)} rows"
    golden, parity = package.golden, package.manifest.lineage.parity
    if parity.reference == "none":
        return float("nan"), "nothing: no library here can ask it"
    said = "its own answers" if parity.reference == "original" else f"its answers: {parity.reference}"
    return _apart(package, _scores(package, golden.payloads), golden.scores), f"{said}, {len(golden)} of {parity.rows} rows"


def _records(package: Package, table: NDArray[np.float64]) -> list[dict[str, float]]:
    wanted = package.manifest.input
    assert isinstance(wanted, RecordInput)  # noqa: S101 - rows were given
    names = [entry.name for entry in wanted.fields]
    return [{name: value for name, value in zip(names, row, strict=False) if value == value} for row in table.tolist()]  # noqa: PLR0124 - NaN


def _scores(package: Package, payloads: Sequence[Any]) -> NDArray[np.float64]:
    model = load_runnable(package)
    return in_batches(model.run, [model.prepare(payload) for payload in payloads])


def _apart(package: Package, ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> float:
    """Of classes, how far their probabilities are apart; of a value, it itself."""
    output = package.manifest.output
    if output.task is Task.REGRESSION:
        return _relative(ours, theirs)
    return _relative(probabilities_of(ours, output), probabilities_of(theirs, output))


def _relative(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> float:
    """The largest difference within a row over the row's largest value, the worst row's."""
    if ours.shape != theirs.shape:
        return float("inf")
    largest = np.abs(theirs).max(axis=1)
    return float((np.abs(ours - theirs).max(axis=1) / np.where(largest == 0, 1.0, largest)).max())


# --- the page -----------------------------------------------------------------------------------------------------------


def page(rows: Sequence[Row]) -> str:
    """The whole page."""
    taken = [row for row in rows if not row.refusal]
    whole, came = _models(row for row in rows if row.known.whole), _models(row for row in taken if row.known.whole)
    compared = [row for row in taken if row.difference == row.difference]
    worst = max((row.difference for row in compared), default=0.0)
    slowest = max((row.seconds for row in rows if row.refusal and not row.known.whole), default=0.0)
    lines = [
        "<!-- Written by docs/make_imports_table.py from the files themselves; run it again rather than edit this. -->",
        "",
        "# Strangers' files, one by one",
        "",
        "Model files that people left in public repositories, each taken in by `relevo import` or refused.",
        "A file is *whole* when it holds a model that the library which wrote it could load by itself; fragments, dumps and",
        "halves of models are listed too, and must be refused. None of the files is part of Relevo.",
        "",
        f"**{came} of {whole} whole models came in ({100 * came / max(1, whole):.0f} %).**",
        f"The largest relative difference to the original's answers is {worst:.1e}; compared were {len(compared)} of {len(taken)}.",
        f"What is not whole was refused in {slowest:.1f} s at the slowest.",
        "",
        "*Difference* is the largest within a row, over that row's largest value. *Seconds* are those of the whole import, several",
        "side by side on two busy cores: the sandbox, the library that wrote the file, conversion, and proof.",
        "",
        "| file | what it is | whole | became | difference | held against | seconds |",
        "|---|---|---|---|---|---|---|",
        *(_line(row) for row in rows),
    ]
    return "\n".join(lines) + "\n"


def _models(rows: Iterable[Row]) -> int:
    """How many models these are: one may be asked in two ways, and one architecture has several with its weights."""
    return len({(row.known.path, row.known.options.get("weights")) for row in rows})


def _line(row: Row) -> str:
    known = row.known
    name = f"`{known.path}`" + (f" ({known.note})" if known.note else "")
    whole = "yes" if known.whole else "no"
    if row.refusal:
        sentence = row.refusal.replace("|", "\\|").replace("\n", " ").replace(str(DATA), "…")
        return f"| {name} | {row.what} | {whole} | refused: {sentence} | | | {row.seconds:.1f} |"
    difference = f"{row.difference:.1e}" if row.difference == row.difference else "not compared"
    return f"| {name} | {row.what} | {whole} | imported | {difference} | {row.reference} | {row.seconds:.1f} |"


def main() -> int:
    """Try the files and write the page; 1 when one of them answers otherwise than its original or is refused too slowly."""
    parser = argparse.ArgumentParser(description="Import every file of RELEVO_TEST_DATA and write the table of what became of it.")
    parser.add_argument("--only", default="", metavar="TEXT", help="only files whose path holds this; nothing is written")
    parser.add_argument("--at-once", type=int, default=1, metavar="NUMBER", help="files tried side by side")
    given = parser.parse_args()
    if not DATA.is_dir():
        print(f"{DATA} is not there; the page stays as it is.")
        return 0
    chosen = [known for known in everything() if given.only in known.path]
    rows = []
    with ThreadPoolExecutor(given.at_once) as pool:
        for row in pool.map(tried, chosen):
            print(_line(row), flush=True)
            rows.append(row)
    if not given.only:
        PAGE.write_text(page(rows), encoding="utf-8")
    bad = [row for row in rows if row.difference > TOLERANCE or (row.refusal and not row.known.whole and row.seconds > PATIENCE)]
    for row in bad:
        print(f"not as it should be: {row.known.path}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
