"""Encodes samples for the sandbox worker, and finds the samples that its outputs belong to.

Samples ─ encode_samples ─► fields of ConversionRequest, bytes          SandboxResult ─ samples_of ─► the predicted Samples
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from relevo.domain.signature import ImageInput
from relevo.importing.sample_files import is_matrix
from relevo.package.samples import ImageSamples, RecordSamples
from relevo.package.synthetic_samples import generate_samples

if TYPE_CHECKING:
    from relevo.importing.sandbox.client import SandboxResult
    from relevo.package.samples import Samples


def encode_samples(samples: Samples | None) -> tuple[dict[str, Any], bytes]:
    """Encode samples for the worker: the fields of ConversionRequest that describe them, and their bytes."""
    if samples is None:
        return {}, b""
    if isinstance(samples, RecordSamples):
        fields = {
            "samples": "matrix" if is_matrix(samples) else "records",
            "names": samples.names,
            "whole": tuple(sorted(samples.whole)),
        }
        return fields, msgspec.json.encode(samples.records)
    if samples.files:
        return {"samples": "files"}, msgspec.msgpack.encode(list(samples.files))
    shape = (len(samples.pixels), *samples.pixels[0].shape)
    if any(pixels.shape != shape[1:] for pixels in samples.pixels):
        return encode_samples(ImageSamples(files=tuple(samples.payload(index) for index in range(len(samples)))))
    return {"samples": "pixels", "shape": shape}, b"".join(pixels.tobytes() for pixels in samples.pixels)


def samples_of(result: SandboxResult, user_samples: Samples | None) -> Samples:
    """Return the samples that the worker's outputs belong to. Generated images are generated again; records come from the worker."""
    if user_samples is not None:
        return user_samples
    if isinstance(result.converted.input, ImageInput):
        return generate_samples(result.converted.input)
    names = tuple(field.name for field in result.converted.input.fields)
    return RecordSamples(records=result.records, names=names)
