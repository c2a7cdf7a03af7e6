"""Looks at every labelled prediction of a model and says what is fit to be learnt from.

labels ─ labelled(model) ─┐
history ─ input ─ digest ─┴─► domain.cleaning.cleaned ─► Cleaned, remembered while nothing changes
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from relevo.domain.curation import LabelledExample, LabelVote, Reason, curate
from relevo.domain.label_aggregation import latest_by_author
from relevo.errors import InvalidInputError
from relevo.runtime.image import ImageLimits
from relevo.runtime.input_digest import content_digest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from relevo.config import Settings
    from relevo.domain.curation import CurationReport
    from relevo.domain.label_aggregation import LabelAggregation
    from relevo.domain.prediction import Label
    from relevo.store.labels.labels import Labels
    from relevo.store.predictions import PredictionStore, StoredInput

#: As long as an answer is remembered at most: an erased input changes no label.
_REMEMBERED_S = 60.0
_MOST_REMEMBERED = 4


class Cleaning:
    """Cleans models' labels, one at a time; lives as long as the process, safe for several threads."""

    def __init__(self, history: PredictionStore, labels: Labels, settings: Settings) -> None:
        self._history = history
        self._labels = labels
        self._share = settings.max_author_share
        self._limits = ImageLimits(max_pixels=settings.max_pixels, max_side=settings.max_side)
        self._one_at_a_time = threading.Lock()
        self._remembered: dict[tuple[str, str], tuple[float, CurationReport]] = {}

    def look(self, model: str) -> CurationReport:
        """What is learnt from, and what is left out and why; pages of one look share it. Raises DatabaseUnavailableError."""
        with self._one_at_a_time:
            key = (model, self._labels.state())
            born, found = self._remembered.get(key, (0.0, None))
            if found is None or time.monotonic() - born > _REMEMBERED_S:
                found = curate(self._examples(model), share=self._share)
                if len(self._remembered) >= _MOST_REMEMBERED:
                    self._remembered.clear()
                self._remembered[key] = (time.monotonic(), found)
            return found

    def _examples(self, model: str) -> Iterator[LabelledExample]:
        rule = self._labels.rule()
        for some in self._labels.labelled(model):
            for sent in self._history.inputs(list(some)):
                yield _example(sent.prediction, *self._content(sent), some[sent.prediction], rule)

    def _content(self, sent: StoredInput) -> tuple[bytes | None, Reason | None]:
        if sent.data is None:
            return None, Reason.INPUT_NOT_KEPT
        try:
            return content_digest(sent.kind, sent.data, self._limits), None
        except InvalidInputError:
            return None, Reason.UNREADABLE


def _example(
    prediction: bytes, content: bytes | None, trouble: Reason | None, labels: Sequence[Label], rule: LabelAggregation
) -> LabelledExample:
    label = rule.of(labels)
    votes = tuple(LabelVote(value=one.value, trusted=rule.trusts(one)) for one in latest_by_author(labels))
    return LabelledExample(
        prediction=prediction,
        content=content,
        trouble=trouble,
        value=None if label is None else label.value,
        author="" if label is None else label.author,
        trusted=label is not None and rule.trusts(label),
        votes=votes,
    )
