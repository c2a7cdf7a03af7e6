"""The samples a user hands over, brought to the two forms that serving knows: records and pictures.

    list of dicts · DataFrame · matrix            ─► RecordSamples   dicts of plain JSON values
    uint8 array · paths · bytes · PIL images      ─► ImageSamples    files, or pixels that become PNG when asked for

A DataFrame is known by what it can do, so pandas is never needed here. What the user gave is kept beside, since the
original model must be asked with exactly that.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from datetime import date, time
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from relevo.domain.signature import ImageInput
from relevo.errors import ConversionFailed, OptionsMissing
from relevo.records import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

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

    def __len__(self) -> int:
        """Count the rows."""
        return len(self.records)

    def payload(self, index: int) -> dict[str, Any]:
        """One record as a caller would send it; None where nothing is known."""
        return self.records[index]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ImageSamples:
    """Pictures, either as the files they came in or as pixels; lives as long as one packing."""

    files: tuple[bytes, ...] = ()
    pixels: tuple[NDArray[np.uint8], ...] = ()  # each (h, w) or (h, w, 3)

    def __len__(self) -> int:
        """Count the pictures."""
        return len(self.files) or len(self.pixels)

    def payload(self, index: int) -> bytes:
        """One picture as a caller would send it: its file, or its pixels as a PNG."""
        return self.files[index] if self.files else png(self.pixels[index])

    def shape(self) -> tuple[int, ...]:
        """Height and width (and 3) of the first picture."""
        if self.pixels:
            return self.pixels[0].shape
        with Image.open(io.BytesIO(self.files[0]), formats=("JPEG", "PNG", "WEBP")) as picture:
            size = (picture.height, picture.width)
            return size if picture.mode in ("1", "L", "LA") else (*size, 3)


Samples = RecordSamples | ImageSamples


def ready_pixels(samples: Samples, wanted: Input) -> list[NDArray[np.uint8]] | None:
    """The pixels themselves when they already have the model's size and mode, so that no PNG need be made; else None."""
    if not isinstance(samples, ImageSamples) or not isinstance(wanted, ImageInput) or not samples.pixels:
        return None
    shape = (wanted.height, wanted.width) if wanted.mode == "L" else (wanted.height, wanted.width, 3)
    return list(samples.pixels) if all(pixels.shape == shape for pixels in samples.pixels) else None


def png(pixels: NDArray[np.uint8]) -> bytes:
    """Pixels (h, w) or (h, w, 3) as a PNG without any metadata."""
    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(out, format="PNG")
    return out.getvalue()


def take_samples(given: Any, features: Sequence[str] = ()) -> Samples:  # noqa: ANN401 - whatever a notebook holds
    """Bring what the user gave to records or pictures.

    given: list of dicts, DataFrame, matrix (n, features), uint8 images (n, h, w[, 3]), or a list of paths, bytes or PIL images.
    features: names of a matrix' columns; f0, f1, … where none are given.
    Raises OptionsMissing when it is empty, ConversionFailed when it is of another kind.
    """
    if hasattr(given, "toarray"):
        given = given.toarray()
    if len(given) == 0:
        raise OptionsMissing(options="samples (at least one row)")
    if hasattr(given, "columns") and hasattr(given, "to_dict"):
        return _from_frame(given)
    if isinstance(given, np.ndarray):
        return _from_array(given, features)
    return _from_list(list(given), features)


def _from_frame(frame: Any) -> RecordSamples:  # noqa: ANN401 - pandas is never imported
    names = tuple(str(name) for name in frame.columns)
    records = tuple({str(name): _cell(value) for name, value in row.items()} for row in frame.to_dict(orient="records"))
    kinds = {name: getattr(frame.dtypes.iloc[position], "kind", "O") for position, name in enumerate(names)}
    return RecordSamples(
        records=records, names=names, table=frame, whole=frozenset(name for name, kind in kinds.items() if kind in "iu")
    )


def _from_array(array: NDArray[Any], features: Sequence[str]) -> Samples:
    if array.ndim == 2:
        return _from_matrix(array, features)
    if array.dtype == np.uint8 and (array.ndim == 3 or (array.ndim == 4 and array.shape[3] in (1, 3))):
        flat = array[..., 0] if array.ndim == 4 and array.shape[3] == 1 else array
        return ImageSamples(pixels=tuple(flat))
    raise ConversionFailed(
        reason=f"samples of shape {array.shape} and type {array.dtype} are neither a matrix (n, features) "
        "nor uint8 images (n, height, width[, 3])"
    )


def _from_matrix(matrix: NDArray[Any], features: Sequence[str]) -> RecordSamples:
    names = tuple(str(name) for name in features) or tuple(f"f{column}" for column in range(matrix.shape[1]))
    if len(names) != matrix.shape[1] or len(set(names)) != len(names):
        raise OptionsMissing(options=f"features ({matrix.shape[1]} different names, one a column)")
    numeric = matrix.dtype.kind in "fiub"
    rows = matrix.astype(np.float64).tolist() if numeric else matrix.tolist()
    records = tuple({name: _cell(value) for name, value in zip(names, row, strict=True)} for row in rows)
    return RecordSamples(records=records, names=names, table=matrix, numeric=numeric)


def _from_list(given: list[Any], features: Sequence[str]) -> Samples:
    first = given[0]
    if isinstance(first, dict):
        return from_records(given)
    if isinstance(first, bytes):
        return ImageSamples(files=tuple(given))
    if isinstance(first, str | Path):
        return ImageSamples(files=tuple(Path(path).read_bytes() for path in given))
    if hasattr(first, "convert") and hasattr(first, "getbands"):
        return ImageSamples(pixels=tuple(_pixels_of(picture) for picture in given))
    if isinstance(first, np.ndarray) and first.dtype == np.uint8 and first.ndim in (2, 3):
        return ImageSamples(pixels=tuple(given))
    return _from_array(np.asarray(given), features)


def from_records(given: Iterable[dict[str, Any]]) -> RecordSamples:
    """Dicts of plain values, one a row."""
    records = tuple({str(name): _cell(value) for name, value in record.items()} for record in given)
    names = tuple(dict.fromkeys(name for record in records for name in record))
    return RecordSamples(records=records, names=names)


def _pixels_of(picture: Any) -> NDArray[np.uint8]:  # noqa: ANN401 - a PIL image, known by what it can do
    return np.asarray(picture.convert("L" if picture.mode in ("1", "L", "LA") else "RGB"))


def _cell(value: Any) -> Any:  # noqa: ANN401 - a cell of a table
    found = plain(value)
    # The original was trained on dates and decimals as such, which JSON does not have.
    if found is None or (isinstance(found, bool | int | float | str) and not isinstance(value, date | time | Decimal)):
        return found
    raise ConversionFailed(
        reason=f"a record holds a {type(value).__name__}; only numbers, texts, true and false can be sent as JSON"
    )
