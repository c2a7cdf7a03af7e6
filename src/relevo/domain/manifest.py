"""The manifest of a package: format, signature, preprocessing, decision, lineage, and the digest of every other file.

    manifest.json ─ decode (unknown keys rejected) ─ upgrade(format) ─► Manifest ─ canonical bytes ─ sha256 ─► digest

The digest of the manifest's bytes is the package's identity, since the manifest has the digest of every other file. It contains no
timestamp and no path, so that the same model packed twice gives the same package. The model's name and its configured synonyms are
part of the manifest. The name of an imported file is not: the registry stores it, so that one file under two names is one package.

Changing the format: a field with a default that old readers must not ignore, or any other change of meaning, needs a new
number. Increase FORMAT; add a function to UPGRADES that converts the plain dict of the former number to the new one; keep one
package of the former number under tests/package/formats/ with a test that opens it. Older releases reject the new number with
UnknownFormatError.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import msgspec

from relevo.domain import extra_fields
from relevo.domain.decision import ArgmaxDecision, Decision, ThresholdDecision
from relevo.domain.preprocessing import ColumnSteps, ImageSteps, MatrixSteps, Steps, background_problem
from relevo.domain.signature import ImageInput, Input, Output, RecordInput, Task
from relevo.errors import InvalidManifestError, UnknownFormatError
from relevo.util.terminal import escape_control, has_control

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

FORMAT = 2
#: Direction marks of Arabic and Hebrew text, which are allowed: they affect only adjacent characters.
_DIRECTION_MARKS = "\u061c\u200e\u200f"


def _upgrade_1(plain: dict[str, Any]) -> dict[str, Any]:
    """Format 2 renamed keys; no meaning changed."""
    names = {
        "decision": {"least": "min_confidence", "accept": "accept_at", "reject": "reject_at"},
        "lineage": {"quarantine": "sandbox"},
        "input": {"extra": "unknown_fields", "missing": "missing_fields"},
    }
    upgraded = plain | {section: _rename_keys(plain.get(section), keys) for section, keys in names.items()}
    decision, lineage, record = (upgraded[section] for section in names)
    if isinstance(decision, dict) and decision.get("type") == "bands":
        upgraded["decision"] = decision | {"type": "thresholds"}
    if isinstance(lineage, dict):
        keys = {"parity": {"against": "reference"}, "precision": {"numbers": "dtype", "max_loss": "max_accuracy_drop"}}
        upgraded["lineage"] = lineage | {part: _rename_keys(lineage[part], keys[part]) for part in keys if part in lineage}
    if isinstance(record, dict) and isinstance(record.get("fields"), list):
        fields = [_rename_keys(field, {"closed": "restrict_to_categories"}) for field in record["fields"]]
        upgraded["input"] = record | {"fields": fields}
    return upgraded | {"format": 2}


def _rename_keys(plain: Any, names: Mapping[str, str]) -> Any:
    """A copy of a JSON object with other keys; anything else is returned unchanged, and rejected when it is decoded."""
    return {names.get(key, key): value for key, value in plain.items()} if isinstance(plain, dict) else plain


#: Former format number → the function that converts a manifest's dict to the next one.
UPGRADES: Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]] = {1: _upgrade_1}


class Calibration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """How honest the probabilities were on held-out data. The temperature is reported, not applied."""

    #: By what the scores would have to be divided to be honest; reported, not applied.
    temperature: float
    expected_error: float  # ECE over 15 equal-width bins, 0..1
    #: Held-out rows it was measured on.
    rows: int


class Parity(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """How it was proved that the package answers as the original did."""

    #: `original`: the original model answered the samples itself, read by the library installed here;
    #: `original in scikit-learn 1.1.3`: it answered them in an environment of its own time; `supplied`: the user gave its
    #: outputs; `none`: not proved.
    reference: str
    #: `user`: real inputs given by the user; `generated`: made from the signature.
    samples: str
    #: Samples both were asked.
    rows: int = 0
    largest_difference: float = 0.0  # absolute, in units of the scores
    tolerance: float = 0.0  # largest difference that was let through, in the same unit
    labels_agreeing: float = 1.0  # share 0..1


class Precision(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """In what smaller numbers the model computes, and what that costs against the same model in single precision."""

    #: `float16` or `int8`.
    dtype: str
    rows: int  # samples both were asked
    labels_agreeing: float  # share 0..1; of a regression, of values that moved by less than a hundredth of their range
    largest_difference: float  # absolute, in units of the scores
    max_accuracy_drop: float  # what was allowed, 0..1
    #: Bytes of the model in single precision.
    bytes_before: int
    #: Bytes of the model as packed.
    bytes_after: int
    #: `accuracy` or `r2` on the held-out samples, where their truth is known.
    metric: str = ""
    #: That metric in single precision.
    before: float = 0.0
    #: That metric as packed.
    after: float = 0.0


class Lineage(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Where the model came from and what converted it."""

    #: Framework and version that wrote the original: "scikit-learn 0.24.2", "onnx".
    framework: str
    #: Libraries and versions that converted it here.
    converter: dict[str, str] = msgspec.field(default_factory=dict)
    #: SHA-256 of the original file; empty for a model handed over in memory.
    source_sha256: str = ""
    #: `strong`, `partial` or `none` for files opened in quarantine, empty for a model handed over in memory.
    sandbox: str = ""
    #: The proof that the package answers as the original did.
    parity: Parity
    #: Set when the model was packed in smaller numbers; `parity` then tells of it before that.
    precision: Precision | None = None
    #: SHA-256 over the training data, where the training told it.
    training_data: str = ""


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Everything about a package but the bytes of its files."""

    #: Number of this format; a Relevo that does not know it refuses the package and says so.
    format: int
    #: Name of the model: 1 to 64 of a-z, 0-9, `-`, `_`, beginning with a letter or digit.
    name: str
    #: What the model is for.
    description: str = ""
    #: What goes in.
    input: Input
    #: How an input becomes the model's numbers.
    steps: Steps
    #: What comes out.
    output: Output
    #: How scores become an answer.
    decision: Decision
    #: Fields an answer carries beside its own, for clients that read other names: name → fact (`domain/extra_fields.py`).
    answer: dict[str, str] = msgspec.field(default_factory=dict)
    #: Names by which old clients ask for the model, beside its own: "clf.pickle".
    synonyms: tuple[str, ...] = ()
    #: How honest the probabilities were on held-out data, where that was measured.
    calibration: Calibration | None = None
    #: Where the model came from, and the proof.
    lineage: Lineage
    #: Largest absolute difference the scores of a golden example may show when it is replayed.
    golden_tolerance: float = 1e-5
    #: Every file of the package but this one: path with "/" → SHA-256 in hex.
    files: dict[str, str] = msgspec.field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """Canonical JSON: sorted keys, two spaces, a newline at the end. The digest is computed over these bytes."""
        plain = msgspec.json.encode(msgspec.to_builtins(self, order="sorted"), order="sorted")
        return msgspec.json.format(plain, indent=2) + b"\n"

    def digest(self) -> str:
        """SHA-256 of the canonical bytes, in hex: the identity of the package."""
        return hashlib.sha256(self.to_bytes()).hexdigest()


def parse(data: bytes) -> Manifest:
    """Parses manifest.json and upgrades older formats. Raises InvalidManifestError, UnknownFormatError."""
    try:
        plain = msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as cause:
        raise InvalidManifestError(reason=f"it is not JSON ({cause})") from cause
    if not isinstance(plain, dict) or not isinstance(plain.get("format"), int):
        raise InvalidManifestError(reason="it has no format number")
    number = plain["format"]
    if not 1 <= number <= FORMAT:
        raise UnknownFormatError(found=number, known=FORMAT)
    for former in range(number, FORMAT):
        plain = UPGRADES[former](plain)
    try:
        manifest = msgspec.convert(plain, Manifest)
    except (msgspec.ValidationError, RecursionError) as cause:
        raise InvalidManifestError(reason=str(cause)) from cause
    check(manifest)
    return manifest


def check(manifest: Manifest) -> None:
    """Validates consistency between manifest sections. Raises InvalidManifestError naming the first contradiction."""
    problem = _contradiction(manifest)
    if problem:
        raise InvalidManifestError(reason=problem)


def validate_options(
    *, name: str, decision: Decision, answer: Mapping[str, str], output: Output | None = None, synonyms: Sequence[str] = ()
) -> None:
    """Validates the user's options for a new package, against its output where that is known already.

    Raises InvalidManifestError with a message that names the option: there is no manifest yet.
    """
    labels = None if output is None else output.labels
    task = Task.CLASSIFICATION if output is None else output.task
    for option, problem in (
        ("name", _name_problem(name)),
        ("accept/reject/least", _decision_problem(decision, labels)),
        ("answer", extra_fields.problem_of(answer, task, labels)),
        ("synonyms", _synonyms_problem(synonyms)),
    ):
        if problem:
            raise InvalidManifestError.with_message(f"The option {option} cannot be used: {problem}.")


def refuse_bad_background(background: str | None) -> None:
    """Validates the background option. Raises InvalidManifestError with a message that names the option."""
    problem = background_problem(background or "")
    if problem:
        raise InvalidManifestError.with_message(f"The option background cannot be used: {problem}.")


def _contradiction(manifest: Manifest) -> str | None:
    labels = manifest.output.labels
    if manifest.output.task is Task.CLASSIFICATION and len(labels) < 2:
        return "a classification needs at least two labels"
    if manifest.output.label_column and manifest.output.task is not Task.CLASSIFICATION:
        return "only a classification has a column of labels"
    if manifest.output.classes and len(manifest.output.classes) != len(labels):
        return "there is not one class for each label"
    if len(set(labels)) != len(labels):
        return "a label appears twice"
    wrong_field = extra_fields.problem_of(manifest.answer, manifest.output.task, labels)
    return (
        _name_problem(manifest.name)
        or _text_problem(manifest)
        or _decision_problem(manifest.decision, labels)
        or wrong_field
        or _synonyms_problem(manifest.synonyms)
        or _input_problem(manifest)
    )


def _text_problem(manifest: Manifest) -> str | None:
    """Displayed text must not contain control characters, which affect terminals, logs or the text direction."""
    for place, text in _displayed_texts(manifest):
        if has_control(text, keep=_DIRECTION_MARKS + ("\n" if place.endswith("description") else "")):
            return f"{place} has a control character: '{escape_control(text[:80])}'"
    return None


def _displayed_texts(manifest: Manifest) -> Iterator[tuple[str, str]]:
    yield "the description", manifest.description
    yield from (("a label", label) for label in (*manifest.output.labels, *manifest.output.classes))
    yield "the output's name", manifest.output.name
    yield "the output's unit", manifest.output.unit
    if isinstance(manifest.input, ImageInput):
        yield "the input's description", manifest.input.description
        return
    for field in manifest.input.fields:
        yield "a field's name", field.name
        yield f"the unit of the field '{field.name}'", field.unit


def _name_problem(name: str) -> str | None:
    allowed = set("abcdefghijklmnopqrstuvwxyz0123456789-_")
    if not 1 <= len(name) <= 64 or not set(name) <= allowed or not name[0].isalnum():
        return "the name must be 1 to 64 of a-z, 0-9, '-' and '_', beginning with a letter or digit"
    return None


def synonym_of(file: str, name: str) -> tuple[str, ...]:
    """The file name as a synonym of the model; empty if it equals the model's name or is invalid."""
    return () if file == name or _synonyms_problem((file,)) else (file,)


def _synonyms_problem(synonyms: Sequence[str]) -> str | None:
    for synonym in synonyms:
        if not 1 <= len(synonym) <= 64 or not synonym.isprintable() or "/" in synonym or synonym != synonym.strip():
            return f"a synonym must be 1 to 64 printable characters without '/', unlike '{escape_control(synonym[:64])}'"
    return None


def _decision_problem(rule: Decision, labels: tuple[str, ...] | None) -> str | None:
    """labels: None where they are not known yet."""
    if isinstance(rule, ArgmaxDecision):
        return None if 0.0 <= rule.min_confidence <= 1.0 else "decision.least must lie in 0..1"
    if labels is not None and len(labels) != 2:
        return "bands need exactly two labels"
    if isinstance(rule, ThresholdDecision) and not 0.0 <= rule.reject_at <= rule.accept_at <= 1.0:
        return "bands need 0 <= reject <= accept <= 1"
    return None


def _input_problem(manifest: Manifest) -> str | None:
    if isinstance(manifest.input, ImageInput):
        if not isinstance(manifest.steps, ImageSteps):
            return "an image input needs image steps"
        if problem := background_problem(manifest.steps.background):
            return problem
        is_valid = 1 <= manifest.input.width <= 4096 and 1 <= manifest.input.height <= 4096
        return None if is_valid else "width and height must lie in 1..4096"
    return _record_problem(manifest.input, manifest.steps)


def _record_problem(record: RecordInput, steps: Steps) -> str | None:
    if not isinstance(steps, MatrixSteps | ColumnSteps):
        return "a record input needs matrix or column steps"
    names = [field.name for field in record.fields]
    if not names or len(set(names)) != len(names):
        return "a record needs fields with distinct names"
    if record.missing_fields == "zero" and not (isinstance(steps, MatrixSteps) and steps.missing != "nan"):
        return "missing fields can count as 0 only for a model that a DictVectorizer feeds"
    unknown = {column.field for column in steps.columns} - set(names)
    return f"the steps name a field the input has not: {min(unknown)!r}" if unknown else None
