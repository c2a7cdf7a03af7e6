"""What every chaos test asks: the questions of two models, with their known answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.support.chaos import Question, image_questions, record_questions

if TYPE_CHECKING:
    from relevo.package.package import Package


@pytest.fixture(scope="session")
def questions(
    digits_package: Package, digit_pngs: list[bytes], churn_package: Package, churn_records: list[dict[str, Any]]
) -> list[Question]:
    """Pictures, records and batches, with their answers."""
    return [*image_questions(digit_pngs, {1: digits_package}), *record_questions(churn_records, {1: churn_package})]
