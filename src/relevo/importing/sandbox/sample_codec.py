"""Samples on their way into the quarantine, and the samples that an answer out of it belongs to.

Samples ─ packed ─► words for the Task, bytes          Visit ─ asked ─► the Samples that were answered
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from relevo.domain.signature import ImageInput
from relevo.importing.sample_files import is_matrix
from relevo.package.samples import ImageSamples, RecordSamples
from relevo.package.synthetic_samples import generate_samples

if TYPE_CHECKING:
    from relevo.importing.sandbox.client import Visit
    from relevo.package.samples import Samples


def encode_samples(samples: Samples | None) -> tuple[dict[str, Any], bytes]:
    """The samples as the child unpacks them: what the task says of them, and their bytes."""
    if samples is None:
        return {}, b""
    if isinstance(samples, RecordSamples):
        told = {
            "samples": "matrix" if is_matrix(samples) else "records",
            "names": samples.names,
            "whole": tuple(sorted(samples.whole)),
        }
        return told, msgspec.json.encode(samples.records)
    if samples.files:
        return {"samples": "files"}, msgspec.msgpack.encode(list(samples.files))
    shape = (len(samples.pixels), *samples.pixels[0].shape)
    if any(pixels.shape != shape[1:] for pixels in samples.pixels):
        return encode_samples(ImageSamples(files=tuple(samples.payload(index) for index in range(len(samples)))))
    return {"samples": "pixels", "shape": shape}, b"".join(pixels.tobytes() for pixels in samples.pixels)


def asked(back: Visit, given: Samples | None) -> Samples:
    """The samples that the child's outputs belong to; those it made are made again, or taken as it sent them and checked by use."""
    if given is not None:
        return given
    if isinstance(back.converted.input, ImageInput):
        return generate_samples(back.converted.input)
    names = tuple(field.name for field in back.converted.input.fields)
    return RecordSamples(records=back.records, names=names)
