"""Computes fourteen statistics of an image, each of which is monitored for drift like a numeric feature.

    pixels ─ long side to ≤ 256 by area averaging ─► light · detail · colour          width, height, file ─► shape · weight

Y = .299 R + .587 G + .114 B in 0…255; Lap is the 4-neighbour Laplacian of Y inside the border.
"""

from __future__ import annotations

from math import log
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from numpy.typing import NDArray

NAMES = (
    "brightness",
    "contrast",
    "sharpness",
    "noise",
    "dark_share",
    "bright_share",
    "entropy",
    "colourfulness",
    "saturation",
    "hue_sine",
    "hue_cosine",
    "log_pixels",
    "log_aspect",
    "log_bytes_per_pixel",
)
_LONG_SIDE = 256
_MAX_DARK, _MIN_BRIGHT = 5.0, 250.0
_HISTOGRAM_BINS = 64
_MISSING = float("nan")


def image_statistics(pixels: NDArray[np.uint8], file_bytes: int | None = None) -> NDArray[np.float64]:
    """The statistics in the order of NAMES, (14,), NaN where missing.

    pixels: decoded, (h, w) greyscale or (h, w, 3) RGB; colour is missing for greyscale, detail for images below 3 × 3.
    file_bytes: size of the image file; None if there was none.
    """
    height, width = pixels.shape[:2]
    small = _downscale(pixels).astype(np.float64)
    luma = small if small.ndim == 2 else small @ np.array([0.299, 0.587, 0.114])
    colour = (_MISSING,) * 4 if small.ndim == 2 else (_colourfulness(small), *_saturation_and_hue(small))
    weight = _MISSING if file_bytes is None else log(file_bytes / (width * height))
    return np.array([*_light_statistics(luma), *colour, log(width * height), log(width / height), weight])


def _downscale(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = pixels.shape[:2]
    longest = max(height, width)
    if longest <= _LONG_SIDE:
        return pixels
    size = (max(1, round(width * _LONG_SIDE / longest)), max(1, round(height * _LONG_SIDE / longest)))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX))


def _light_statistics(luma: NDArray[np.float64]) -> tuple[float, ...]:
    """Brightness, contrast, sharpness, noise, dark share, bright share, entropy."""
    sharpness, noise = _detail_statistics(luma)
    counts = np.histogram(luma, bins=_HISTOGRAM_BINS, range=(0.0, 256.0))[0]
    shares = counts[counts > 0] / luma.size
    # + 0.0 turns the −0 of a single bin into 0.
    entropy = float(-(shares * np.log2(shares)).sum()) + 0.0
    return (
        float(luma.mean()) / 255,
        float(luma.std()) / 255,
        sharpness,
        noise,
        float((luma <= _MAX_DARK).mean()),
        float((luma >= _MIN_BRIGHT).mean()),
        entropy,
    )


def _detail_statistics(luma: NDArray[np.float64]) -> tuple[float, float]:
    if min(luma.shape) < 3:
        return _MISSING, _MISSING
    laplacian = luma[:-2, 1:-1] + luma[2:, 1:-1] + luma[1:-1, :-2] + luma[1:-1, 2:] - 4 * luma[1:-1, 1:-1]
    return float(np.log1p(laplacian.var())), float(np.median(np.abs(laplacian)))


def _colourfulness(rgb: NDArray[np.float64]) -> float:
    """Source: Hasler and Süsstrunk (2003)."""
    red, green, blue = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    rg, yb = red - green, (red + green) / 2 - blue
    return float(np.sqrt(rg.var() + yb.var()) + 0.3 * np.sqrt(rg.mean() ** 2 + yb.mean() ** 2))


def _saturation_and_hue(rgb: NDArray[np.float64]) -> tuple[float, float, float]:
    """Mean HSV saturation, mean sine and mean cosine of the hue; a grey pixel has hue 0."""
    red, green, blue = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    top, bottom = rgb.max(axis=-1), rgb.min(axis=-1)
    spread = top - bottom
    with np.errstate(divide="ignore", invalid="ignore"):
        saturation = np.where(top > 0, spread / top, 0.0)
        sixths = np.select(
            [spread == 0, top == red, top == green],
            [0.0, (green - blue) / spread, 2 + (blue - red) / spread],
            4 + (red - green) / spread,
        )
    angle = sixths * (np.pi / 3)
    return float(saturation.mean()), float(np.sin(angle).mean()), float(np.cos(angle).mean())
