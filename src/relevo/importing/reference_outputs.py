"""Who says what the converted model must answer: the original here, the original in its own time, or outputs that a person has.

    today's library reads and converts ─┬─ answers as the library of its time does ─► its conversion, proved against that time
    the library of its time answers ────┤
                                        └─ cannot load it, or answers otherwise ─► spelled out there, written by our own graphs

Both read the file behind the same walls.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from relevo.domain.preprocessing import ImageSteps
from relevo.errors import ConversionError, ImportModelError, InvalidOptionsError
from relevo.importing.legacy.environment import environment, read_releases
from relevo.importing.sample_files import is_matrix
from relevo.importing.sandbox import protocol
from relevo.importing.sandbox.client import ask, visit
from relevo.importing.sandbox.convert import MISSING_MODULE
from relevo.importing.sandbox.sample_codec import asked, encode_samples
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
    from relevo.importing.sandbox.client import Answer, Visit
    from relevo.package.conversion import ConvertedModel
    from relevo.package.samples import Samples

_LEVELS = ("strong", "partial", "none")
#: Packages that bring no module but scikit-learn's own.
_OF_SCIKIT = frozenset({"scikit-learn", "numpy", "scipy", "joblib", "threadpoolctl"})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ImportCase:
    """A file to be opened and what was said of it; lives as long as one import."""

    task: ConversionOptions
    bodies: Sequence[bytes]  # the file, a second file or nothing, the samples as the task tells them
    samples: Samples | None
    need_strong: bool
    bounds: Bounds | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReferencedConversion:
    """A conversion, and by whose word it is right."""

    back: Visit
    against: str  # as the manifest's parity tells it


def reference_from_current(case: ImportCase) -> ReferencedConversion:
    """Today's library reads the file, and what it answers then is the original's word. Raises what `visit` raises."""
    back = visit(case.task, case.bodies, need_strong=case.need_strong, bounds=case.bounds)
    return ReferencedConversion(back=back, against="original")


def reference_from_legacy(case: ImportCase, releases: Sequence[str], python: str | Path | None) -> ReferencedConversion:
    """The libraries that wrote the file answer the samples; today's, or else our own graphs, must answer the same.

    releases: "scikit-learn==0.24.2", the one that matters first. python: the interpreter for them.
    Raises LegacyEnvironmentError, InvalidOptionsError, ConversionError, and what `visit` raises.
    """
    wanted = read_releases(releases)
    today = _today(case)
    if isinstance(today, ConversionError) and str(today.facts["reason"]).startswith(MISSING_MODULE):
        named = {release.name for release in wanted}
        if named <= _OF_SCIKIT:
            raise today  # an environment without that module takes minutes to say the same
    with environment(wanted, python) as there:
        return _with(there, wanted[0], case, today)


def _today(case: ImportCase) -> Visit | ConversionError:
    """Today's conversion, or why there is none. What a person must still tell is asked before anything is installed."""
    try:
        return visit(case.task, case.bodies, need_strong=case.need_strong, bounds=case.bounds)
    except ConversionError as refusal:
        return refusal


def _with(there: Environment, release: Release, case: ImportCase, today: Visit | ConversionError) -> ReferencedConversion:
    against = f"original in {there.tells(release)}"
    if not isinstance(today, ConversionError):
        answer = _ask(there, case, today, spell=False)
        outputs = align_columns(answer.outputs, today.converted)
        if _same(today.converted, outputs):
            return ReferencedConversion(back=_taken(today, outputs, answer), against=against)
    answer = _ask(there, case, None if isinstance(today, ConversionError) else today, spell=True)
    back = _spelled(case, answer, today)
    told = replace(back.converted, converter={release.name: there.versions.get(release.name, ""), **back.converted.converter})
    return ReferencedConversion(
        back=replace(back, converted=told, level=max(back.level, answer.level, key=_LEVELS.index)), against=against
    )


def _ask(there: Environment, case: ImportCase, today: Visit | None, *, spell: bool) -> Answer:
    samples = case.samples if today is None else asked(today, case.samples)
    told, body = _question(samples, today)
    question = protocol.LegacyRequest(spell=spell, **told)
    return ask(question, [*case.bodies[:2], body], python=there.python, need_strong=case.need_strong, bounds=case.bounds)


def _question(samples: Samples | None, today: Visit | None) -> tuple[dict[str, Any], bytes]:
    """The samples as the child of other times unpacks them: records, or a matrix in double precision."""
    if samples is None:
        return {}, b""
    if isinstance(samples, RecordSamples) and not is_matrix(samples):
        return {"samples": "records", "names": samples.names}, msgspec.json.encode(samples.records)
    if isinstance(samples, RecordSamples):
        matrix = np.asarray(samples.table, dtype=np.float64)
        return {"samples": "matrix", "names": samples.names, "shape": matrix.shape}, protocol.numbers_out(matrix)
    if today is None or not isinstance(today.converted.steps, ImageSteps):
        raise InvalidOptionsError(
            options="--samples as a matrix, since today's library cannot tell how a picture becomes its numbers"
        )
    rows = tensor(preprocess_samples(build_runnable(today.converted), samples), today.converted.steps)
    flat = np.asarray(rows, dtype=np.float64).reshape(len(rows), -1)
    return {"samples": "matrix", "shape": flat.shape}, protocol.numbers_out(flat)


def align_columns(outputs: NDArray[np.float64], converted: ConvertedModel) -> NDArray[np.float64]:
    """The outputs in the columns that the conversion has: the probability of the second label tells that of the first."""
    columns = outputs.shape[1] if converted.outputs is None else converted.outputs.shape[1]
    if converted.output.label_column and converted.outputs is not None and outputs.shape[1] == columns - 1:
        # What people keep are the scores; the answer beside them is the original's as it was read here.
        return np.column_stack([outputs, converted.outputs[:, -1]])
    if len(converted.output.labels) != 2 or outputs.shape[1] == columns:
        return outputs
    if columns == 1:
        return outputs[:, 1:]
    return np.concatenate([1.0 - outputs, outputs] if converted.output.activation == "none" else [-outputs, outputs], axis=1)


def _same(converted: ConvertedModel, outputs: NDArray[np.float64]) -> bool:
    assert converted.outputs is not None  # noqa: S101 - a pickle was asked itself
    return bool(difference(converted.outputs, outputs).max() <= default_tolerance(converted))


def _taken(today: Visit, outputs: NDArray[np.float64], answer: Answer) -> Visit:
    level = max(today.level, answer.level, key=_LEVELS.index)
    return replace(today, converted=replace(today.converted, outputs=outputs), level=level)


def _spelled(case: ImportCase, answer: Answer, today: Visit | ConversionError) -> Visit:
    """The model as it was spelled out in its own time, written by our own graphs in today's quarantine."""
    described, body = encode_samples(case.samples if isinstance(today, ConversionError) else asked(today, case.samples))
    task = msgspec.structs.replace(case.task, format="spelled", second=False, compression="", **described)
    try:
        back = visit(task, [answer.frame, b"", body], need_strong=case.need_strong, bounds=case.bounds)
    except ConversionError as refusal:
        if isinstance(today, ConversionError):
            raise
        raise ConversionError(
            reason="today's library reads it, but answers otherwise than the one that wrote it; and " + str(refusal.facts["reason"])
        ) from refusal
    return back if isinstance(today, ConversionError) else replace(back, generated=today.generated, records=today.records)


def reference_from_user(judged: ReferencedConversion, outputs: NDArray[np.float64], samples: Samples) -> ReferencedConversion:
    """The same conversion, to be judged by outputs that a person has. Raises ImportModelError when there is not one row a sample."""
    if len(outputs) != len(samples):
        raise ImportModelError(reason=f"there are {len(outputs)} outputs for {len(samples)} samples")
    converted = judged.back.converted
    told = replace(converted, outputs=align_columns(outputs, converted))
    return ReferencedConversion(back=replace(judged.back, converted=told), against="supplied")
