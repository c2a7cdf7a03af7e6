"""The fourteen statistics of an image."""

from __future__ import annotations

from math import log

import numpy as np
import pytest

from relevo.stats.image_stats import NAMES, image_statistics


def _statistics(pixels: np.ndarray, file_bytes: int | None = None) -> dict[str, float]:
    return dict(zip(NAMES, image_statistics(pixels, file_bytes).tolist(), strict=True))


def test_constant_grey_has_the_published_values() -> None:
    """Grey 128: brightness .50196, no contrast, no sharpness, no colour."""
    statistics = _statistics(np.full((40, 60, 3), 128, dtype=np.uint8))
    assert statistics["brightness"] == pytest.approx(0.50196, abs=5e-6)
    assert [statistics[name] for name in ("contrast", "sharpness", "colourfulness", "entropy")] == pytest.approx(
        [0, 0, 0, 0], abs=1e-9
    )


def test_constant_red_has_the_published_colourfulness() -> None:
    """(255, 0, 0) has colourfulness 85.5296, full saturation and hue 0."""
    pixels = np.zeros((10, 10, 3), dtype=np.uint8)
    pixels[..., 0] = 255
    statistics = _statistics(pixels)
    assert statistics["colourfulness"] == pytest.approx(85.5296, abs=5e-5)
    assert (statistics["saturation"], statistics["hue_sine"], statistics["hue_cosine"]) == pytest.approx((1, 0, 1))


def test_hue_turns_with_the_colour() -> None:
    """Green is at 120 degrees, blue at 240."""
    for channel, degrees in ((1, 120), (2, 240)):
        pixels = np.zeros((4, 4, 3), dtype=np.uint8)
        pixels[..., channel] = 200
        statistics = _statistics(pixels)
        angle = np.radians(degrees)
        assert (statistics["hue_sine"], statistics["hue_cosine"]) == pytest.approx((np.sin(angle), np.cos(angle)))


def test_grey_pictures_have_no_colour_to_watch() -> None:
    """For a greyscale image the colour statistics are missing, and so is the weight without a file."""
    statistics = _statistics(np.zeros((5, 5), dtype=np.uint8))
    missing = {name for name, value in statistics.items() if np.isnan(value)}
    assert missing == {"colourfulness", "saturation", "hue_sine", "hue_cosine", "log_bytes_per_pixel"}


def test_shape_and_weight_are_those_of_the_file() -> None:
    """Size and aspect ratio are measured before the image is reduced."""
    statistics = _statistics(np.zeros((300, 600), dtype=np.uint8), file_bytes=90_000)
    assert statistics["log_pixels"] == pytest.approx(log(180_000))
    assert statistics["log_aspect"] == pytest.approx(log(2))
    assert statistics["log_bytes_per_pixel"] == pytest.approx(log(0.5))


def test_half_black_half_white_is_dark_and_bright_by_half() -> None:
    """Shares count pixels at most 5 and at least 250; two values are one bit."""
    pixels = np.zeros((8, 8), dtype=np.uint8)
    pixels[:, 4:] = 255
    statistics = _statistics(pixels)
    assert (statistics["dark_share"], statistics["bright_share"], statistics["entropy"]) == (0.5, 0.5, 1.0)
    assert statistics["contrast"] == pytest.approx(0.5)
    assert statistics["sharpness"] > 1


def test_noise_is_heard_and_edges_alone_are_not() -> None:
    """The median of the Laplacian reacts to noise everywhere, not to a single edge."""
    edge = np.zeros((64, 64), dtype=np.uint8)
    edge[:, 32:] = 200
    noisy = np.random.default_rng(0).integers(90, 110, (64, 64)).astype(np.uint8)
    assert _statistics(edge)["noise"] == 0
    assert _statistics(noisy)["noise"] > 5


@pytest.mark.parametrize("shape", [(1, 1), (2, 500), (500, 1, 3)])
def test_tiny_and_thin_pictures_do_not_fail(shape: tuple[int, ...]) -> None:
    """Statistics that cannot be computed for a thin image are missing."""
    assert np.isnan(_statistics(np.ones(shape, dtype=np.uint8))["sharpness"])
