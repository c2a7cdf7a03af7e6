"""Packages of real models, built once: digits (images) and breast cancer (records)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.linear_model import LogisticRegression

import relevo

if TYPE_CHECKING:
    from pathlib import Path

    from relevo.package.package import Package


class Digits(NamedTuple):
    """A fitted classifier of 8 × 8 images, with held-out data."""

    model: LogisticRegression
    pictures: np.ndarray  # (n, 8, 8) uint8
    truth: np.ndarray


@pytest.fixture(scope="session")
def digits() -> Digits:
    pixels, truth = load_digits(return_X_y=True)
    pictures = np.round(pixels * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8)
    model = LogisticRegression(max_iter=300).fit(pictures[:1200].reshape(1200, -1) / 255, truth[:1200])
    return Digits(model, pictures[1200:], truth[1200:])


@pytest.fixture(scope="session")
def digits_package(digits: Digits) -> Package:
    return relevo.pack(digits.model, name="digits", samples=digits.pictures, truth=digits.truth, scale=1 / 255)


@pytest.fixture(scope="session")
def small_package() -> Package:
    """A small record package: no truth, so no figures and no drift reference."""
    features, truth = load_breast_cancer(return_X_y=True)
    model = LogisticRegression(max_iter=5000).fit(features[:, :3], truth)
    return relevo.pack(model, name="small", samples=features[:6, :3], features=["radius", "texture", "perimeter"])


@pytest.fixture
def small_folder(small_package: Package, tmp_path: Path) -> Path:
    folder = tmp_path / "small"
    small_package.write(folder)
    return folder
