"""From a conversion to a package on disk; used by packing and by importing alike.

    Parts ─ parity ─ golden ─ findings (metrics, profile, figures) ─ card ─► files ─ digests ─► manifest
                                                                          └─ verified in memory, replayed ─► folder | .zip

No time and no folder enters, everything is sorted: the same model packed twice, in one language and by the same names, is the same
package.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from relevo.domain.decision import ArgmaxDecision, Decision
from relevo.domain.manifest import FORMAT, Calibration, Lineage, Manifest, check, parse, validate_options
from relevo.domain.signature import RecordInput
from relevo.errors import ConversionError, InvalidManifestError, InvalidOptionsError
from relevo.package.card.model_card import write_card
from relevo.package.card.plots import draw_figures
from relevo.package.card.texts import CardWords
from relevo.package.card.training_curves import draw_learning, user_figures
from relevo.package.drift_reference import LEAST_ROWS, profile_bytes
from relevo.package.golden import golden_files, make_golden, select_rows, with_labels
from relevo.package.layout import CARD, MANIFEST, METRICS, MODEL, PROFILE, SEAL
from relevo.package.metrics import held_out, measure
from relevo.package.package import Package, digest_line, open_package, replay_golden, verify_files
from relevo.package.parity import check_parity, default_tolerance, score_as_served
from relevo.package.probabilities import settled
from relevo.package.quantization import golden_tolerance, quantize
from relevo.package.reference_columns import build_reference
from relevo.package.targets import read_truth

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from relevo.domain.signature import MissingFields, Output, UnknownFields
    from relevo.package.conversion import ConvertedModel
    from relevo.package.quantization import Numbers, QuantizedModel
    from relevo.package.samples import Samples

#: What `progress` is told, in order; the first belongs to whoever converts.
STEPS = ("converting", "proving", "measuring", "drawing", "writing")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PackageSpec:
    """Everything a package is made of; lives as long as one packing or import."""

    converted: ConvertedModel
    name: str
    samples: Samples
    truth: Sequence[Any] | NDArray[Any] | None = None  # one a sample: a class or label, or a number
    description: str = ""
    decision: Decision = field(default_factory=ArgmaxDecision)
    #: Fields an answer carries beside its own: name → fact.
    answer: Mapping[str, str] = field(default_factory=dict)
    #: What becomes of a field that nobody named, and of a required one that is missing; None for what the converter found.
    unknown_fields: UnknownFields | None = None
    missing_fields: MissingFields | None = None
    #: Names by which old clients ask for the model.
    synonyms: Sequence[str] = ()
    #: `original` or `supplied`: whose outputs `converted.outputs` are.
    against: str = "original"
    #: `user` or `generated`: whose the samples are.
    origin: str = "user"
    tolerance: float | None = None
    #: `float32`, or the smaller numbers that a heavy network is to compute in, and what that may cost.
    precision: Numbers = "float32"
    max_loss: float = 0.01
    figures: bool = True
    source_sha256: str = ""
    quarantine: str = ""
    training_data: str = ""
    #: One an epoch: its number and figures by name.
    learning: Sequence[Mapping[str, float]] = ()
    #: Figures the user drew: PNG by file name.
    drawings: Mapping[str, bytes] = field(default_factory=dict)
    #: What the card and its pictures are written in.
    words: CardWords = field(default_factory=CardWords)
    progress: Callable[[int, int, str], object] | None = None

    @property
    def rule(self) -> Decision:
        """How scores become an answer: as a person said, else as the model itself does, else the most probable label."""
        return self.decision if self.decision != ArgmaxDecision() else self.converted.decision or ArgmaxDecision()

    def tell(self, step: str) -> None:
        """Say which step begins."""
        if self.progress is not None:
            self.progress(STEPS.index(step), len(STEPS), step)


def build_package(parts: PackageSpec, out: Path | None = None) -> Package:
    """Prove, measure and write a package; without `out` it stays in memory.

    out: a folder, or a path ending in .zip. Raises ParityError, InvalidManifestError, PackageError when something is in the way.
    """
    parts.tell("proving")
    parts = _with_policies(parts)
    served = score_as_served(parts.converted, parts.samples)
    manifest = _first_manifest(parts, served)
    if parts.precision != "float32":
        light = _lightened(parts, manifest, served)
        parts, served, manifest = replace(parts, converted=light.converted), light.served, _told(manifest, light)
    manifest, files = _manifest_and_files(parts, manifest, served)
    parts.tell("writing")
    package = verify_files(_sealed(manifest, files))
    replay_golden(package)
    if parts.progress is not None:
        parts.progress(len(STEPS), len(STEPS), "done")
    if out is None:
        return package
    package.write(out)
    return open_package(out, digest=package.digest)


def _with_policies(parts: PackageSpec) -> PackageSpec:
    """The parts with the fields' policies where a person set them. Raises InvalidManifestError for a model of pictures."""
    told = {"extra": parts.unknown_fields, "missing": parts.missing_fields}
    chosen = {name: policy for name, policy in told.items() if policy is not None}
    if not chosen:
        return parts
    taken = parts.converted.input
    if not isinstance(taken, RecordInput):
        raise InvalidManifestError.told("The options unknown_fields and missing_fields are for a model of records.")
    return replace(parts, converted=replace(parts.converted, input=msgspec.structs.replace(taken, **chosen)))


def _lightened(parts: PackageSpec, manifest: Manifest, served: NDArray[np.float64]) -> QuantizedModel:
    """The model in smaller numbers. Raises QuantizationLossError, InvalidOptionsError when there are no real samples."""
    if parts.origin != "user":
        raise InvalidOptionsError(options="samples: real inputs, to see what smaller numbers cost")
    converted = parts.converted
    truth = None if parts.truth is None else read_truth(parts.truth, converted.output, converted.classes, len(served))
    return quantize(manifest, converted, parts.samples, served, numbers=parts.precision, max_loss=parts.max_loss, truth=truth)


def _told(manifest: Manifest, light: QuantizedModel) -> Manifest:
    lineage = msgspec.structs.replace(manifest.lineage, precision=light.told)
    return msgspec.structs.replace(
        manifest, lineage=lineage, golden_tolerance=golden_tolerance(light.told, manifest.golden_tolerance)
    )


def _manifest_and_files(parts: PackageSpec, manifest: Manifest, served: NDArray[np.float64]) -> tuple[Manifest, dict[str, bytes]]:
    converted = parts.converted
    scores = served if converted.outputs is None else converted.outputs
    files = {MODEL: converted.onnx, **_golden(parts, scores, manifest.decision)}
    metrics: dict[str, Any] = {}
    if parts.truth is not None:
        truth = read_truth(parts.truth, converted.output, converted.classes, len(served))
        parts.tell("measuring")
        metrics = measure(manifest, served, truth) | held_out(manifest, served, truth, parts.samples.digest()) | _learned(parts)
        manifest = _calibrated(manifest, metrics)
        files[METRICS] = msgspec.json.format(msgspec.json.encode(metrics, order="sorted"), indent=2) + b"\n"
        if len(served) >= LEAST_ROWS:
            files[PROFILE] = profile_bytes(build_reference(manifest, converted.onnx, parts.samples, served, truth))
        parts.tell("drawing")
        files |= draw_figures(manifest, metrics, served, truth, parts.words) if parts.figures else {}
    files |= user_figures(parts.drawings) | (draw_learning(parts.learning, parts.words) if parts.figures else {})
    files[CARD] = _card(parts, manifest, metrics, files)
    return manifest, files


def _golden(parts: PackageSpec, scores: NDArray[np.float64], rule: Decision) -> dict[str, bytes]:
    told = parts.converted
    taken = make_golden(parts.samples, scores, select_rows(scores, told.output), told.input, told.steps)
    return golden_files(with_labels(taken, told.output, rule))


def _learned(parts: PackageSpec) -> dict[str, Any]:
    return {"learning": [dict(epoch) for epoch in parts.learning]} if parts.learning else {}


def _calibrated(manifest: Manifest, metrics: dict[str, Any]) -> Manifest:
    found = metrics.get("calibration")
    if found is None:
        return manifest
    calibration = Calibration(temperature=found["temperature"], expected_error=found["expected_error"], rows=metrics["rows"])
    return msgspec.structs.replace(manifest, calibration=calibration)


def _card(parts: PackageSpec, manifest: Manifest, metrics: dict[str, Any], files: dict[str, bytes]) -> bytes:
    figures = [path for path in files if path.startswith("figures/")]
    return write_card(manifest, metrics, figures, profiled=PROFILE in files, language=parts.words.language).encode()


def _first_manifest(parts: PackageSpec, served: NDArray[np.float64]) -> Manifest:
    """The manifest as far as it is known before anything is measured. Raises ParityError, InvalidManifestError."""
    converted = parts.converted
    if not np.isfinite(served).all():
        raise ConversionError(reason="the converted model answers NaN or infinity to some samples")
    parity = check_parity(
        converted, served, decision=parts.rule, against=parts.against, samples=parts.origin, tolerance=parts.tolerance
    )
    allowed = default_tolerance(converted) if parts.tolerance is None else parts.tolerance
    manifest = Manifest(
        format=FORMAT,
        name=parts.name,
        description=parts.description,
        input=converted.input,
        steps=converted.steps,
        output=settled(_with_classes(converted), served),
        decision=parts.rule,
        answer=dict(parts.answer),
        synonyms=tuple(parts.synonyms),
        lineage=Lineage(
            framework=converted.framework,
            converter=dict(converted.converter),
            source_sha256=parts.source_sha256,
            quarantine=parts.quarantine,
            parity=parity,
            training_data=parts.training_data,
        ),
        golden_tolerance=allowed * max(1.0, float(np.abs(served).max())),
    )
    validate_options(name=parts.name, decision=parts.rule, answer=parts.answer, output=converted.output, synonyms=parts.synonyms)
    check(manifest)
    return manifest


def _with_classes(converted: ConvertedModel) -> Output:
    """The output with the model's own names of its classes, where the labels are others."""
    output, classes = converted.output, converted.classes
    other = len(classes) == len(output.labels) and classes != output.labels
    return msgspec.structs.replace(output, classes=classes) if other else output


def _sealed(manifest: Manifest, files: dict[str, bytes]) -> dict[str, bytes]:
    digests = {path: hashlib.sha256(content).hexdigest() for path, content in sorted(files.items())}
    # Written, read and written: a scale of 1 becomes 1.0 once, so that the manifest read back has the same digest.
    manifest_bytes = parse(msgspec.structs.replace(manifest, files=digests).to_bytes()).to_bytes()
    return {**files, MANIFEST: manifest_bytes, SEAL: digest_line(manifest_bytes)}
