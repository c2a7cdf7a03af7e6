"""Converts the user's samples to the two input kinds of serving: records and images.

    list of dicts · DataFrame · matrix            ─► RecordSamples   dicts of plain JSON values
    uint8 array · paths · bytes · PIL images      ─► ImageSamples    files, or pixels that are encoded as PNG on demand

An image keeps what the preprocessing steps depend on: a PIL image with an EXIF orientation or with transparency becomes a PNG with
both. Pixels of more than 8 bits are rejected, as they are in a file.

A DataFrame is recognized by its methods, so pandas is not imported. The user's own object is kept as well, since the original
model must run on exactly that.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date, time
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from PIL import Image

from relevo.domain.signature import ImageInput
from relevo.errors import ConversionError, InvalidOptionsError
from relevo.runtime.image import OWN_FILES, open_image, size_of
from relevo.util.records import plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from relevo.domain.signature import Input


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RecordSamples:
    """Rows of named fields. Lifetime: one packing."""

    records: tuple[dict[str, Any], ...]
    names: tuple[str, ...]  # in the order given
    table: Any = None  # the user's own DataFrame or matrix
    whole: frozenset[str] = frozenset()  # fields whose column has an integer type
    numeric: bool = False  # a plain matrix: every field is a real number
    sparse: Any = None  # the CSR matrix, if the user gave a sparse one; which entries it stores may matter

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.records)

    def digest(self) -> str:
        """SHA-256 over all rows, in order."""
        rows = hashlib.sha256()
        for record in self.records:
            rows.update(msgspec.json.encode(record, order="sorted", enc_hook=str))
        return rows.hexdigest()

    def payload(self, index: int) -> dict[str, Any]:
        """One record as a client would send it; None for a missing value."""
        return self.records[index]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ImageSamples:
    """Images, either as files or as pixels. Lifetime: one packing."""

    files: tuple[bytes, ...] = ()
    pixels: tuple[NDArray[np.uint8], ...] = ()  # each (h, w) or (h, w, 3)
    #: Whether the files are the user's own, so that their size is meaningful.
    as_sent: bool = True

    def __len__(self) -> int:
        """Number of images."""
        return len(self.files) or len(self.pixels)

    def digest(self) -> str:
        """SHA-256 over all images, in order."""
        rows = hashlib.sha256()
        for picture in self.files or self.pixels:
            rows.update(hashlib.sha256(picture if isinstance(picture, bytes) else picture.tobytes()).digest())
        return rows.hexdigest()

    def payload(self, index: int) -> bytes:
        """One image as a client would send it: its file, or its pixels as a PNG."""
        return self.files[index] if self.files else png(self.pixels[index])

    def shape(self, orientation: str | None = None) -> tuple[int, ...]:
        """Height and width (and 3 for colour) of the first image. Raises UnsupportedImageError, BrokenImageError, ImageTooLargeError.

        orientation: `ignore` to ignore the EXIF orientation; else it is applied.
        """
        if self.pixels:
            height, width, *colours = self.pixels[0].shape
            return (height, width, 3) if colours else (height, width)
        picture = open_image(self.files[0], OWN_FILES)
        size = size_of(picture, follow=orientation != "ignore")[::-1]
        return size if picture.mode in ("1", "L", "LA") else (*size, 3)


Samples = RecordSamples | ImageSamples
_ORIENTATION = 0x0112  # EXIF tag
#: PIL modes of 8 bits.
_PIL_MODES = frozenset({"1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV"})


def ready_pixels(samples: Samples, signature: Input) -> list[NDArray[np.uint8]] | None:
    """The pixels, if all have the model's size and mode already, so that no PNG is needed; else None."""
    if not isinstance(samples, ImageSamples) or not isinstance(signature, ImageInput) or not samples.pixels:
        return None
    shape = (signature.height, signature.width) if signature.mode == "L" else (signature.height, signature.width, 3)
    return list(samples.pixels) if all(pixels.shape == shape for pixels in samples.pixels) else None


def png(pixels: NDArray[np.uint8]) -> bytes:
    """Pixels (h, w), (h, w, 3) or (h, w, 4) as a PNG without metadata."""
    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(out, format="PNG")
    return out.getvalue()


def normalize_samples(samples: Any, features: Sequence[str] = ()) -> Samples:
    """Converts the user's samples to records or images.

    samples: list of dicts, DataFrame, matrix (n, features) of NumPy or SciPy, uint8 images (n, h, w[, 3 or 4]), or a list of paths,
        bytes, PIL images or uint8 pixels.
    features: column names of a matrix; f0, f1, … by default.
    Raises InvalidOptionsError when it is empty, ConversionError when it is anything else.
    """
    if hasattr(samples, "toarray"):
        dense = normalize_samples(samples.toarray(), features)
        return replace(dense, sparse=samples.tocsr()) if isinstance(dense, RecordSamples) and hasattr(samples, "tocsr") else dense
    if isinstance(samples, str | bytes | Path | Mapping) or not isinstance(samples, Iterable):
        raise ConversionError(
            reason=f"the samples are a {type(samples).__name__}; a list of dicts, a DataFrame, a matrix or a list of "
            "pictures is expected"
        )
    if not hasattr(samples, "__len__"):
        samples = list(samples)
    if len(samples) == 0:
        raise InvalidOptionsError(options="samples (at least one row)")
    if hasattr(samples, "columns") and hasattr(samples, "to_dict"):
        return _from_frame(samples)
    if isinstance(samples, np.ndarray):
        return _from_array(samples, features)
    return _from_list(list(samples), features)


def _from_frame(frame: Any) -> RecordSamples:
    names = tuple(str(name) for name in frame.columns)
    duplicate = next((name for name in names if names.count(name) > 1), None)
    if duplicate is not None:
        raise ConversionError(reason=f"the samples have several columns named '{duplicate}'; rename them, or remove all but one")
    records = tuple({str(name): _cell(value) for name, value in row.items()} for row in frame.to_dict(orient="records"))
    kinds = {name: getattr(frame.dtypes.iloc[position], "kind", "O") for position, name in enumerate(names)}
    return RecordSamples(
        records=records, names=names, table=frame, whole=frozenset(name for name, kind in kinds.items() if kind in "iu")
    )


def _from_array(array: NDArray[Any], features: Sequence[str]) -> Samples:
    if array.ndim == 2:
        return _from_matrix(array, features)
    if array.dtype == np.uint8 and (array.ndim == 3 or (array.ndim == 4 and array.shape[3] in (1, 3, 4))):
        return _from_images(list(array))
    raise ConversionError(
        reason=f"samples of shape {array.shape} and type {array.dtype} are neither a matrix (n, features) "
        "nor uint8 images (n, height, width[, 3])"
    )


def _from_matrix(matrix: NDArray[Any], features: Sequence[str]) -> RecordSamples:
    names = tuple(str(name) for name in features) or tuple(f"f{column}" for column in range(matrix.shape[1]))
    if len(names) != matrix.shape[1] or len(set(names)) != len(names):
        raise InvalidOptionsError(options=f"features ({matrix.shape[1]} different names, one a column)")
    numeric = matrix.dtype.kind in "fiub"
    rows = matrix.astype(np.float64).tolist() if numeric else matrix.tolist()
    records = tuple({name: _cell(value) for name, value in zip(names, row, strict=True)} for row in rows)
    return RecordSamples(records=records, names=names, table=matrix, numeric=numeric)


def _from_list(items: list[Any], features: Sequence[str]) -> Samples:
    first = items[0]
    if isinstance(first, dict):
        return from_records(items)
    if any(isinstance(item, bytes | str | Path) or _is_pil(item) for item in items) or _is_pixels(first):
        return _from_images(items)
    try:
        rows = np.asarray(items)
    except ValueError as cause:
        raise ConversionError(reason="the samples are rows of different lengths") from cause
    if rows.ndim == 1:
        raise ConversionError(
            reason=f"the samples are a list of {type(first).__name__}; a list of dicts, rows of numbers or pictures is expected"
        )
    return _from_array(rows, features)


def _from_images(items: list[Any]) -> ImageSamples:
    """Files if any image is a file or needs to become one; else pixels. Raises ConversionError."""
    images = [to_image(item) for item in items]
    if all(isinstance(image, np.ndarray) for image in images):
        return ImageSamples(pixels=tuple(image for image in images if isinstance(image, np.ndarray)))
    files = tuple(image if isinstance(image, bytes) else png(image) for image in images)
    return ImageSamples(files=files, as_sent=all(isinstance(item, bytes | str | Path) for item in items))


def to_image(image: Any) -> bytes | NDArray[np.uint8]:
    """One image as the bytes of a file, or as pixels where these are the complete image. Raises ConversionError.

    image: a path, bytes, a PIL image, or uint8 pixels (h, w), (h, w, 1), (h, w, 3) or (h, w, 4).
    """
    if isinstance(image, bytes):
        return image
    if isinstance(image, str | Path):
        try:
            return Path(image).read_bytes()
        except (OSError, ValueError) as cause:
            detail = cause.strerror if isinstance(cause, OSError) else cause
            raise ConversionError(
                reason=f"the picture '{image}' cannot be read: {detail} (a text is given as a field of a record)"
            ) from cause
    if _is_pil(image):
        return _from_pil(image)
    pixels = np.asarray(image)
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    if pixels.dtype != np.uint8 or not (pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in (3, 4))) or not pixels.size:
        raise ConversionError(
            reason=f"a picture of shape {pixels.shape} and type {pixels.dtype} cannot be taken: uint8 pixels of 0..255 are "
            "expected, (height, width), (height, width, 3) or (height, width, 4)"
        )
    return png(pixels) if pixels.ndim == 3 and pixels.shape[2] == 4 else pixels


def _is_pil(value: Any) -> bool:
    return hasattr(value, "convert") and hasattr(value, "getbands")


def _is_pixels(value: Any) -> bool:
    return isinstance(value, np.ndarray) and (value.ndim == 3 or (value.ndim == 2 and value.dtype == np.uint8))


def from_records(samples: Iterable[dict[str, Any]]) -> RecordSamples:
    """Samples from dicts of plain values, one per row."""
    records = tuple({str(name): _cell(value) for name, value in record.items()} for record in samples)
    names = tuple(dict.fromkeys(name for record in records for name in record))
    return RecordSamples(records=records, names=names)


def _from_pil(picture: Any) -> bytes | NDArray[np.uint8]:
    """The pixels of a PIL image, or a PNG if it has an EXIF orientation or transparency. Raises ConversionError."""
    if picture.mode not in _PIL_MODES:
        raise ConversionError(
            reason=f"a picture of PIL's mode {picture.mode} cannot be taken, as no file of its kind can: bring its pixels to 8 "
            "bits (mode L or RGB) in the way the model was trained with"
        )
    try:
        # Pillow applies the orientation of a TIFF while it loads it, and then drops the tag.
        picture.load()
    except (OSError, SyntaxError, ValueError) as cause:
        raise ConversionError(reason=f"a picture that PIL opened is damaged or cut off: {cause}") from cause
    transparent = picture.has_transparency_data
    try:
        orientation = int(picture.getexif().get(_ORIENTATION, 1))
    except Exception:  # noqa: BLE001 - broken metadata must not reject a valid image
        orientation = 1
    is_grey = picture.mode in ("1", "L", "LA", "La")
    converted = picture.convert(("LA" if is_grey else "RGBA") if transparent else "L" if is_grey else "RGB")
    if not transparent and orientation == 1:
        return np.asarray(converted)
    exif = Image.Exif()
    exif[_ORIENTATION] = orientation
    out = io.BytesIO()
    Image.frombytes(converted.mode, converted.size, converted.tobytes()).save(out, format="PNG", exif=exif)
    return out.getvalue()


def _cell(value: Any) -> Any:
    converted = plain(value)
    # The original was trained on dates and decimals, which JSON does not have.
    if converted is None or (isinstance(converted, bool | int | float | str) and not isinstance(value, date | time | Decimal)):
        return converted
    raise ConversionError(
        reason=f"a record holds a {type(value).__name__}; only numbers, texts, true and false can be sent as JSON"
    )
