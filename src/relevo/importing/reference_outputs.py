"""Chooses the reference outputs for parity: current library, legacy library, or user-supplied.

    current library reads and converts ─┬─ same outputs as the legacy library ─► its conversion, verified against the legacy outputs
    legacy library predicts ────────────┤
                                        └─ cannot load it, or other outputs ───► serialized there, converted by Relevo's own graphs

Both read the file in the sandbox.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from relevo.domain.preprocessing import ImageSteps
from relevo.errors import ConversionError, ImportModelError, InvalidOptionsError
from relevo.importing.legacy.environment import legacy_environment, read_releases
from relevo.importing.sample_files import is_matrix
from relevo.importing.sandbox import protocol
from relevo.importing.sandbox.client import convert_in_sandbox, predict_with_legacy
from relevo.importing.sandbox.convert import MISSING_MODULE
from relevo.importing.sandbox.sample_codec import encode_samples, samples_of
from relevo.package.parity import build_runnable, default_tolerance, difference, preprocess_samples
from relevo.package.samples import RecordSamples
from relevo.runtime.image import tensor

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from relevo.converters.limits import Bounds
    from relevo.converters.options import ConversionOptions
    from relevo.importing.legacy.environment import Environment, Release
    from relevo.importing.sandbox.client import LegacyOutputs, SandboxResult
    from relevo.package.conversion import ConvertedModel
    from relevo.package.samples import Samples

_LEVELS = ("strong", "partial", "none")
#: Packages that provide only scikit-learn's own modules.
_SKLEARN_PACKAGES = frozenset({"scikit-learn", "numpy", "scipy", "joblib", "threadpoolctl"})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ImportCase:
    """A file to convert, with its options. Lifetime: one import."""

    options: ConversionOptions
    bodies: Sequence[bytes]  # the file, a second file or nothing, the encoded samples
    samples: Samples | None
    need_strong: bool
    bounds: Bounds | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReferencedConversion:
    """A conversion, and the source of its reference outputs."""

    result: SandboxResult
    reference: str  # as in the manifest's parity section


def reference_from_current(case: ImportCase) -> ReferencedConversion:
    """The current library reads the file; its outputs are the reference. Raises what `convert_in_sandbox` raises."""
    result = convert_in_sandbox(case.options, case.bodies, need_strong=case.need_strong, bounds=case.bounds)
    return ReferencedConversion(result=result, reference="original")


def reference_from_legacy(case: ImportCase, releases: Sequence[str], python: str | Path | None) -> ReferencedConversion:
    """The libraries that wrote the file predict the samples; the current library, or else Relevo's own graphs, must agree.

    releases: "scikit-learn==0.24.2", the most important first. python: the interpreter for them.
    Raises LegacyEnvironmentError, InvalidOptionsError, ConversionError, and what `convert_in_sandbox` raises.
    """
    requested = read_releases(releases)
    current = _convert_with_current(case)
    if isinstance(current, ConversionError) and str(current.facts["reason"]).startswith(MISSING_MODULE):
        names = {release.name for release in requested}
        if names <= _SKLEARN_PACKAGES:
            raise current  # a new environment lacks that module too, and takes minutes to install
    with legacy_environment(requested, python) as environment:
        return _compare_with_legacy(environment, requested[0], case, current)


def _convert_with_current(case: ImportCase) -> SandboxResult | ConversionError:
    """Convert with the current library, or return its error. Missing options are reported before anything is installed."""
    try:
        return convert_in_sandbox(case.options, case.bodies, need_strong=case.need_strong, bounds=case.bounds)
    except ConversionError as error:
        return error


def _compare_with_legacy(
    environment: Environment, release: Release, case: ImportCase, current: SandboxResult | ConversionError
) -> ReferencedConversion:
    against = f"original in {environment.describe(release)}"
    if not isinstance(current, ConversionError):
        outputs_message = _predict_with_legacy(environment, case, current, spell=False)
        outputs = align_columns(outputs_message.outputs, current.converted)
        if _within_tolerance(current.converted, outputs):
            return ReferencedConversion(result=_with_legacy_outputs(current, outputs, outputs_message), reference=against)
    outputs_message = _predict_with_legacy(environment, case, None if isinstance(current, ConversionError) else current, spell=True)
    result = _convert_serialized(case, outputs_message, current)
    converted = replace(
        result.converted, converter={release.name: environment.versions.get(release.name, ""), **result.converted.converter}
    )
    return ReferencedConversion(
        result=replace(result, converted=converted, level=max(result.level, outputs_message.level, key=_LEVELS.index)),
        reference=against,
    )


def _predict_with_legacy(
    environment: Environment, case: ImportCase, current: SandboxResult | None, *, spell: bool
) -> LegacyOutputs:
    samples = case.samples if current is None else samples_of(current, case.samples)
    fields, body = _encode_legacy_samples(samples, current)
    request = protocol.LegacyRequest(spell=spell, **fields)
    return predict_with_legacy(
        request, [*case.bodies[:2], body], python=environment.python, need_strong=case.need_strong, bounds=case.bounds
    )


def _encode_legacy_samples(samples: Samples | None, current: SandboxResult | None) -> tuple[dict[str, Any], bytes]:
    """Encode samples for the legacy worker: records, or a matrix in double precision."""
    if samples is None:
        return {}, b""
    if isinstance(samples, RecordSamples) and not is_matrix(samples):
        return {"samples": "records", "names": samples.names}, msgspec.json.encode(samples.records)
    if isinstance(samples, RecordSamples):
        matrix = np.asarray(samples.table, dtype=np.float64)
        return {"samples": "matrix", "names": samples.names, "shape": matrix.shape}, protocol.encode_matrix(matrix)
    if current is None or not isinstance(current.converted.steps, ImageSteps):
        raise InvalidOptionsError(
            options="--samples as a matrix, since today's library cannot tell how a picture becomes its numbers"
        )
    rows = tensor(preprocess_samples(build_runnable(current.converted), samples), current.converted.steps)
    flat = np.asarray(rows, dtype=np.float64).reshape(len(rows), -1)
    return {"samples": "matrix", "shape": flat.shape}, protocol.encode_matrix(flat)


def align_columns(outputs: NDArray[np.float64], converted: ConvertedModel) -> NDArray[np.float64]:
    """Give the outputs the columns of the conversion; of two labels, the second's probability implies the first's."""
    columns = outputs.shape[1] if converted.outputs is None else converted.outputs.shape[1]
    if converted.output.label_column and converted.outputs is not None and outputs.shape[1] == columns - 1:
        # Users keep the scores only; the column of predicted labels is the one computed in the sandbox.
        return np.column_stack([outputs, converted.outputs[:, -1]])
    if len(converted.output.labels) != 2 or outputs.shape[1] == columns:
        return outputs
    if columns == 1:
        return outputs[:, 1:]
    return np.concatenate([1.0 - outputs, outputs] if converted.output.activation == "none" else [-outputs, outputs], axis=1)


def _within_tolerance(converted: ConvertedModel, outputs: NDArray[np.float64]) -> bool:
    assert converted.outputs is not None  # noqa: S101 - a pickle always has its own outputs
    return bool(difference(converted.outputs, outputs).max() <= default_tolerance(converted))


def _with_legacy_outputs(current: SandboxResult, outputs: NDArray[np.float64], legacy: LegacyOutputs) -> SandboxResult:
    level = max(current.level, legacy.level, key=_LEVELS.index)
    return replace(current, converted=replace(current.converted, outputs=outputs), level=level)


def _convert_serialized(case: ImportCase, legacy: LegacyOutputs, current: SandboxResult | ConversionError) -> SandboxResult:
    """Convert the model that the legacy worker serialized with Relevo's own graphs, in the current sandbox."""
    fields, body = encode_samples(case.samples if isinstance(current, ConversionError) else samples_of(current, case.samples))
    options = msgspec.structs.replace(case.options, format="spelled", second=False, compression="", **fields)
    try:
        result = convert_in_sandbox(options, [legacy.frame, b"", body], need_strong=case.need_strong, bounds=case.bounds)
    except ConversionError as error:
        if isinstance(current, ConversionError):
            raise
        raise ConversionError(
            reason="today's library reads it, but answers otherwise than the one that wrote it; and " + str(error.facts["reason"])
        ) from error
    return result if isinstance(current, ConversionError) else replace(result, generated=current.generated, records=current.records)


def reference_from_user(conversion: ReferencedConversion, outputs: NDArray[np.float64], samples: Samples) -> ReferencedConversion:
    """The same conversion, with the user's outputs as reference. Raises ImportModelError unless there is one row a sample."""
    if len(outputs) != len(samples):
        raise ImportModelError(reason=f"there are {len(outputs)} outputs for {len(samples)} samples")
    converted = conversion.result.converted
    referenced = replace(converted, outputs=align_columns(outputs, converted))
    return ReferencedConversion(result=replace(conversion.result, converted=referenced), reference="supplied")
