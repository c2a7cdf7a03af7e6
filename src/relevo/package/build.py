"""Builds a package from a converted model; used by `pack` and by imports.

    PackageSpec ─ parity ─ golden ─ metrics, drift reference, figures ─ card ─► files ─ digests ─► manifest
                                                                             └─ verified in memory, replayed ─► folder | .zip

Packages are reproducible: no timestamp and no path enters, and everything is sorted. The same model packed twice, in one language
and under the same names, gives the same package.
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
from relevo.package.card.training_curves import draw_training_curves, user_figures
from relevo.package.drift_reference import MIN_ROWS, profile_bytes
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

#: Steps reported to `progress`, in order; the converter reports the first.
STEPS = ("converting", "proving", "measuring", "drawing", "writing")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PackageSpec:
    """Input of `build_package`. Lifetime: one packing or import."""

    converted: ConvertedModel
    name: str
    samples: Samples
    truth: Sequence[Any] | NDArray[Any] | None = None  # one per sample: a class or label, or a number
    description: str = ""
    decision: Decision = field(default_factory=ArgmaxDecision)
    #: Extra fields of an answer: name → fact.
    answer: Mapping[str, str] = field(default_factory=dict)
    #: Policies for unknown fields and for missing required fields; None keeps those of the converter.
    unknown_fields: UnknownFields | None = None
    missing_fields: MissingFields | None = None
    #: Alternative names of the model, for old clients.
    synonyms: Sequence[str] = ()
    #: Source of `converted.outputs`: `original` or `supplied`.
    reference: str = "original"
    #: Source of the samples: `user` or `generated`.
    samples_origin: str = "user"
    tolerance: float | None = None
    #: `float32`, or the type to quantize to, and the accuracy that this may cost (share, 0..1).
    precision: Numbers = "float32"
    max_loss: float = 0.01
    figures: bool = True
    source_sha256: str = ""
    sandbox: str = ""
    training_data: str = ""
    #: One entry per epoch: its number, and its metrics by name.
    training_curves: Sequence[Mapping[str, float]] = ()
    #: Figures of the user: file name → PNG.
    extra_figures: Mapping[str, bytes] = field(default_factory=dict)
    #: Texts of the card and its figures, in the language of the card.
    card_texts: CardWords = field(default_factory=CardWords)
    progress: Callable[[int, int, str], object] | None = None

    @property
    def decision_rule(self) -> Decision:
        """The decision rule: the user's, else the model's own, else the most probable label."""
        return self.decision if self.decision != ArgmaxDecision() else self.converted.decision or ArgmaxDecision()

    def report_progress(self, step: str) -> None:
        """Reports that a step begins."""
        if self.progress is not None:
            self.progress(STEPS.index(step), len(STEPS), step)


def build_package(spec: PackageSpec, out: Path | None = None) -> Package:
    """Checks parity, measures and writes a package; without `out` it stays in memory.

    out: a folder, or a path ending in .zip. Raises ParityError, InvalidManifestError, PackageError when `out` cannot be written.
    """
    spec.report_progress("proving")
    spec = _with_policies(spec)
    served = score_as_served(spec.converted, spec.samples)
    manifest = _initial_manifest(spec, served)
    if spec.precision != "float32":
        quantized = _quantized(spec, manifest, served)
        spec, served, manifest = (
            replace(spec, converted=quantized.converted),
            quantized.served,
            _with_precision(manifest, quantized),
        )
    manifest, files = _build_files(spec, manifest, served)
    spec.report_progress("writing")
    package = verify_files(_with_manifest(manifest, files))
    replay_golden(package)
    if spec.progress is not None:
        spec.progress(len(STEPS), len(STEPS), "done")
    if out is None:
        return package
    package.write(out)
    return open_package(out, digest=package.digest)


def _with_policies(spec: PackageSpec) -> PackageSpec:
    """Applies the user's policies for unknown and missing fields. Raises InvalidManifestError for an image model."""
    requested = {"unknown_fields": spec.unknown_fields, "missing_fields": spec.missing_fields}
    policies = {name: policy for name, policy in requested.items() if policy is not None}
    if not policies:
        return spec
    signature = spec.converted.input
    if not isinstance(signature, RecordInput):
        raise InvalidManifestError.with_message("The options unknown_fields and missing_fields are for a model of records.")
    return replace(spec, converted=replace(spec.converted, input=msgspec.structs.replace(signature, **policies)))


def _quantized(spec: PackageSpec, manifest: Manifest, served: NDArray[np.float64]) -> QuantizedModel:
    """The quantized model. Raises QuantizationLossError, InvalidOptionsError when there are no real samples."""
    if spec.samples_origin != "user":
        raise InvalidOptionsError(options="samples: real inputs, to see what smaller numbers cost")
    converted = spec.converted
    truth = None if spec.truth is None else read_truth(spec.truth, converted.output, converted.classes, len(served))
    return quantize(manifest, converted, spec.samples, served, numbers=spec.precision, max_loss=spec.max_loss, truth=truth)


def _with_precision(manifest: Manifest, quantized: QuantizedModel) -> Manifest:
    lineage = msgspec.structs.replace(manifest.lineage, precision=quantized.precision)
    return msgspec.structs.replace(
        manifest, lineage=lineage, golden_tolerance=golden_tolerance(quantized.precision, manifest.golden_tolerance)
    )


def _build_files(spec: PackageSpec, manifest: Manifest, served: NDArray[np.float64]) -> tuple[Manifest, dict[str, bytes]]:
    converted = spec.converted
    scores = served if converted.outputs is None else converted.outputs
    files = {MODEL: converted.onnx, **_golden(spec, scores, manifest.decision)}
    metrics: dict[str, Any] = {}
    if spec.truth is not None:
        truth = read_truth(spec.truth, converted.output, converted.classes, len(served))
        spec.report_progress("measuring")
        metrics = (
            measure(manifest, served, truth) | held_out(manifest, served, truth, spec.samples.digest()) | _training_curves(spec)
        )
        manifest = _with_calibration(manifest, metrics)
        files[METRICS] = msgspec.json.format(msgspec.json.encode(metrics, order="sorted"), indent=2) + b"\n"
        if len(served) >= MIN_ROWS:
            files[PROFILE] = profile_bytes(build_reference(manifest, converted.onnx, spec.samples, served, truth))
        spec.report_progress("drawing")
        files |= draw_figures(manifest, metrics, served, truth, spec.card_texts) if spec.figures else {}
    files |= user_figures(spec.extra_figures) | (
        draw_training_curves(spec.training_curves, spec.card_texts) if spec.figures else {}
    )
    files[CARD] = _card(spec, manifest, metrics, files)
    return manifest, files


def _golden(spec: PackageSpec, scores: NDArray[np.float64], rule: Decision) -> dict[str, bytes]:
    converted = spec.converted
    golden = make_golden(spec.samples, scores, select_rows(scores, converted.output), converted.input, converted.steps)
    return golden_files(with_labels(golden, converted.output, rule))


def _training_curves(spec: PackageSpec) -> dict[str, Any]:
    return {"learning": [dict(epoch) for epoch in spec.training_curves]} if spec.training_curves else {}


def _with_calibration(manifest: Manifest, metrics: dict[str, Any]) -> Manifest:
    measured = metrics.get("calibration")
    if measured is None:
        return manifest
    calibration = Calibration(temperature=measured["temperature"], expected_error=measured["expected_error"], rows=metrics["rows"])
    return msgspec.structs.replace(manifest, calibration=calibration)


def _card(spec: PackageSpec, manifest: Manifest, metrics: dict[str, Any], files: dict[str, bytes]) -> bytes:
    figures = [path for path in files if path.startswith("figures/")]
    return write_card(manifest, metrics, figures, profiled=PROFILE in files, language=spec.card_texts.language).encode()


def _initial_manifest(spec: PackageSpec, served: NDArray[np.float64]) -> Manifest:
    """The manifest before calibration and digests are known. Raises ParityError, InvalidManifestError."""
    converted = spec.converted
    if not np.isfinite(served).all():
        raise ConversionError(reason="the converted model answers NaN or infinity to some samples")
    parity = check_parity(
        converted,
        served,
        decision=spec.decision_rule,
        reference=spec.reference,
        samples=spec.samples_origin,
        tolerance=spec.tolerance,
    )
    tolerance = default_tolerance(converted) if spec.tolerance is None else spec.tolerance
    manifest = Manifest(
        format=FORMAT,
        name=spec.name,
        description=spec.description,
        input=converted.input,
        steps=converted.steps,
        output=settled(_with_classes(converted), served),
        decision=spec.decision_rule,
        answer=dict(spec.answer),
        synonyms=tuple(spec.synonyms),
        lineage=Lineage(
            framework=converted.framework,
            converter=dict(converted.converter),
            source_sha256=spec.source_sha256,
            sandbox=spec.sandbox,
            parity=parity,
            training_data=spec.training_data,
        ),
        golden_tolerance=tolerance * max(1.0, float(np.abs(served).max())),
    )
    validate_options(
        name=spec.name, decision=spec.decision_rule, answer=spec.answer, output=converted.output, synonyms=spec.synonyms
    )
    check(manifest)
    return manifest


def _with_classes(converted: ConvertedModel) -> Output:
    """The output with the model's own class names, where these differ from the labels."""
    output, classes = converted.output, converted.classes
    differs = len(classes) == len(output.labels) and classes != output.labels
    return msgspec.structs.replace(output, classes=classes) if differs else output


def _with_manifest(manifest: Manifest, files: dict[str, bytes]) -> dict[str, bytes]:
    digests = {path: hashlib.sha256(content).hexdigest() for path, content in sorted(files.items())}
    # Encoded, parsed and encoded again: 1 becomes 1.0 here, so that the manifest read back has the same digest.
    manifest_bytes = parse(msgspec.structs.replace(manifest, files=digests).to_bytes()).to_bytes()
    return {**files, MANIFEST: manifest_bytes, SEAL: digest_line(manifest_bytes)}
