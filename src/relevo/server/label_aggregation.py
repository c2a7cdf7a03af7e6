"""What the settings say of labels, as the rooms below know it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relevo.domain.label_aggregation import AggregationStrategy, LabelAggregation

if TYPE_CHECKING:
    from relevo.config import Settings


def resolution_of(settings: Settings) -> LabelAggregation:
    """By which rule the label that counts is found, and who is trusted."""
    return LabelAggregation(rule=AggregationStrategy(settings.label_aggregation), trusted=settings.trusted_names)
