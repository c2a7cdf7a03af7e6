"""The samples a user hands over, brought to the two forms that serving knows: records and pictures.

    list of dicts · DataFrame · matrix            ─► RecordSamples   dicts of plain JSON values
    uint8 array · paths · bytes · PIL images      ─► ImageSamples    files, or pixels that become PNG when asked for

A picture keeps what the steps decide upon: a PIL image with a camera's orientation or with transparency becomes a PNG that has
both. Pixels of more than 8 bits are refused here as they are in a file.

A DataFrame is known by what it can do, so pandas is never needed here. What the user gave is kept beside, since the
original model must be asked with exactly that.
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
    """Rows of named fields; lives as long as one packing."""

    records: tuple[dict[str, Any], ...]
    names: tuple[str, ...]  # in the order given
    table: Any = None  # the DataFrame or matrix as the user gave it
    whole: frozenset[str] = frozenset()  # fields whose column has an integer type
    numeric: bool = False  # a plain matrix: every field is a real number
    sparse: Any = None  # the same as a CSR matrix, where SciPy's was given; its stored entries may matter

    def __len__(self) -> int:
        """Count the rows."""
        return len(self.records)

    def digest(self) -> str:
        """SHA-256 over all rows, in their order."""
        rows = hashlib.sha256()
        for record in self.records:
            rows.update(msgspec.json.encode(record, order="sorted", enc_hook=str))
        return rows.hexdigest()

    def payload(self, index: int) -> dict[str, Any]:
        """One record as a caller would send it; None where nothing is known."""
        return self.records[index]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ImageSamples:
    """Pictures, either as the files they came in or as pixels; lives as long as one packing."""

    files: tuple[bytes, ...] = ()
    pixels: tuple[NDArray[np.uint8], ...] = ()  # each (h, w) or (h, w, 3)
    #: Whether the files are those that the user has, so that their size says something.
    as_sent: bool = True

    def __len__(self) -> int:
        """Count the pictures."""
        return len(self.files) or len(self.pixels)

    def digest(self) -> str:
        """SHA-256 over all pictures, in their order."""
        rows = hashlib.sha256()
        for picture in self.files or self.pixels:
            rows.update(hashlib.sha256(picture if isinstance(picture, bytes) else picture.tobytes()).digest())
        return rows.hexdigest()

    def payload(self, index: int) -> bytes:
        """One picture as a caller would send it: its file, or its pixels as a PNG."""
        return self.files[index] if self.files else png(self.pixels[index])

    def shape(self, orientation: str | None = None) -> tuple[int, ...]:
        """Height and width (and 3 for colours) of the first picture. Raises UnsupportedImageError, BrokenImageError, ImageTooLargeError.

        orientation: `ignore` where a camera's is; else the picture is upright.
        """
        if self.pixels:
            height, width, *colours = self.pixels[0].shape
            return (height, width, 3) if colours else (height, width)
        picture = open_image(self.files[0], OWN_FILES)
        size = size_of(picture, follow=orientation != "ignore")[::-1]
        return size if picture.mode in ("1", "L", "LA") else (*size, 3)


Samples = RecordSamples | ImageSamples
_ORIENTATION = 0x0112  # EXIF tag
#: PIL's modes of 8 bits.
_PIL_MODES = frozenset({"1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV"})


def ready_pixels(samples: Samples, wanted: Input) -> list[NDArray[np.uint8]] | None:
    """The pixels themselves when they already have the model's size and mode, so that no PNG need be made; else None."""
    if not isinstance(samples, ImageSamples) or not isinstance(wanted, ImageInput) or not samples.pixels:
        return None
    shape = (wanted.height, wanted.width) if wanted.mode == "L" else (wanted.height, wanted.width, 3)
    return list(samples.pixels) if all(pixels.shape == shape for pixels in samples.pixels) else None


def png(pixels: NDArray[np.uint8]) -> bytes:
    """Pixels (h, w), (h, w, 3) or (h, w, 4) as a PNG without any metadata."""
    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(out, format="PNG")
    return out.getvalue()


def normalize_samples(given: Any, features: Sequence[str] = ()) -> Samples:
    """Bring what the user gave to records or pictures.

    given: list of dicts, DataFrame, matrix (n, features) of NumPy or SciPy, uint8 images (n, h, w[, 3 or 4]), or a list of paths,
        bytes, PIL images or uint8 pixels.
    features: names of a matrix' columns; f0, f1, … where none are given.
    Raises InvalidOptionsError when it is empty, ConversionError when it is of another kind.
    """
    if hasattr(given, "toarray"):
        dense = normalize_samples(given.toarray(), features)
        return replace(dense, sparse=given.tocsr()) if isinstance(dense, RecordSamples) and hasattr(given, "tocsr") else dense
    if isinstance(given, str | bytes | Path | Mapping) or not isinstance(given, Iterable):
        raise ConversionError(
            reason=f"the samples are a {type(given).__name__}; a list of dicts, a DataFrame, a matrix or a list of "
            "pictures is expected"
        )
    if not hasattr(given, "__len__"):
        given = list(given)
    if len(given) == 0:
        raise InvalidOptionsError(options="samples (at least one row)")
    if hasattr(given, "columns") and hasattr(given, "to_dict"):
        return _from_frame(given)
    if isinstance(given, np.ndarray):
        return _from_array(given, features)
    return _from_list(list(given), features)


def _from_frame(frame: Any) -> RecordSamples:
    names = tuple(str(name) for name in frame.columns)
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConversionError(reason=f"the samples have several columns named '{twice}'; rename them, or remove all but one")
    records = tuple({str(name): _cell(value) for name, value in row.items()} for row in frame.to_dict(orient="records"))
    kinds = {name: getattr(frame.dtypes.iloc[position], "kind", "O") for position, name in enumerate(names)}
    return RecordSamples(
        records=records, names=names, table=frame, whole=frozenset(name for name, kind in kinds.items() if kind in "iu")
    )


def _from_array(array: NDArray[Any], features: Sequence[str]) -> Samples:
    if array.ndim == 2:
        return _from_matrix(array, features)
    if array.dtype == np.uint8 and (array.ndim == 3 or (array.ndim == 4 and array.shape[3] in (1, 3, 4))):
        return _from_pictures(list(array))
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


def _from_list(given: list[Any], features: Sequence[str]) -> Samples:
    first = given[0]
    if isinstance(first, dict):
        return from_records(given)
    if any(isinstance(one, bytes | str | Path) or _is_pil(one) for one in given) or _is_pixels(first):
        return _from_pictures(given)
    try:
        rows = np.asarray(given)
    except ValueError as cause:
        raise ConversionError(reason="the samples are rows of different lengths") from cause
    if rows.ndim == 1:
        raise ConversionError(
            reason=f"the samples are a list of {type(first).__name__}; a list of dicts, rows of numbers or pictures is expected"
        )
    return _from_array(rows, features)


def _from_pictures(given: list[Any]) -> ImageSamples:
    """Files where any is one, or needs to become one; else pixels. Raises ConversionError."""
    taken = [one_picture(one) for one in given]
    if all(isinstance(one, np.ndarray) for one in taken):
        return ImageSamples(pixels=tuple(one for one in taken if isinstance(one, np.ndarray)))
    files = tuple(one if isinstance(one, bytes) else png(one) for one in taken)
    return ImageSamples(files=files, as_sent=all(isinstance(one, bytes | str | Path) for one in given))


def one_picture(given: Any) -> bytes | NDArray[np.uint8]:
    """One picture as the bytes of a file, or as pixels where these say all of it. Raises ConversionError.

    given: a path, bytes, a PIL image, or uint8 pixels (h, w), (h, w, 1), (h, w, 3) or (h, w, 4).
    """
    if isinstance(given, bytes):
        return given
    if isinstance(given, str | Path):
        try:
            return Path(given).read_bytes()
        except (OSError, ValueError) as cause:
            why = cause.strerror if isinstance(cause, OSError) else cause
            raise ConversionError(
                reason=f"the picture '{given}' cannot be read: {why} (a text is given as a field of a record)"
            ) from cause
    if _is_pil(given):
        return _of_pil(given)
    pixels = np.asarray(given)
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    if pixels.dtype != np.uint8 or not (pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in (3, 4))) or not pixels.size:
        raise ConversionError(
            reason=f"a picture of shape {pixels.shape} and type {pixels.dtype} cannot be taken: uint8 pixels of 0..255 are "
            "expected, (height, width), (height, width, 3) or (height, width, 4)"
        )
    return png(pixels) if pixels.ndim == 3 and pixels.shape[2] == 4 else pixels


def _is_pil(one: Any) -> bool:
    return hasattr(one, "convert") and hasattr(one, "getbands")


def _is_pixels(one: Any) -> bool:
    return isinstance(one, np.ndarray) and (one.ndim == 3 or (one.ndim == 2 and one.dtype == np.uint8))


def from_records(given: Iterable[dict[str, Any]]) -> RecordSamples:
    """Dicts of plain values, one a row."""
    records = tuple({str(name): _cell(value) for name, value in record.items()} for record in given)
    names = tuple(dict.fromkeys(name for record in records for name in record))
    return RecordSamples(records=records, names=names)


def _of_pil(picture: Any) -> bytes | NDArray[np.uint8]:
    """Its pixels, or a PNG where a camera's orientation or transparency belong to it. Raises ConversionError."""
    if picture.mode not in _PIL_MODES:
        raise ConversionError(
            reason=f"a picture of PIL's mode {picture.mode} cannot be taken, as no file of its kind can: bring its pixels to 8 "
            "bits (mode L or RGB) in the way the model was trained with"
        )
    try:
        # Pillow turns a TIFF while it loads it, and then knows of no orientation any more.
        picture.load()
    except (OSError, SyntaxError, ValueError) as cause:
        raise ConversionError(reason=f"a picture that PIL opened is damaged or cut off: {cause}") from cause
    clear = picture.has_transparency_data
    try:
        turned = int(picture.getexif().get(_ORIENTATION, 1))
    except Exception:  # noqa: BLE001 - broken metadata must not hide a good picture
        turned = 1
    grey = picture.mode in ("1", "L", "LA", "La")
    bare = picture.convert(("LA" if grey else "RGBA") if clear else "L" if grey else "RGB")
    if not clear and turned == 1:
        return np.asarray(bare)
    exif = Image.Exif()
    exif[_ORIENTATION] = turned
    out = io.BytesIO()
    Image.frombytes(bare.mode, bare.size, bare.tobytes()).save(out, format="PNG", exif=exif)
    return out.getvalue()


def _cell(value: Any) -> Any:
    found = plain(value)
    # The original was trained on dates and decimals as such, which JSON does not have.
    if found is None or (isinstance(found, bool | int | float | str) and not isinstance(value, date | time | Decimal)):
        return found
    raise ConversionError(
        reason=f"a record holds a {type(value).__name__}; only numbers, texts, true and false can be sent as JSON"
    )
