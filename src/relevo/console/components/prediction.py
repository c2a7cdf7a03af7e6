"""Renders a prediction as HTML: the predicted value, its confidence, a bar for every label. All text is escaped.

Result or row of the history ─► PredictionOut ─► verdict(view)   bars(view)   short(view) for a thumbnail
"""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from relevo.client import Result
    from relevo.console.texts import Texts

_BARS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionOut:
    """The parts of a prediction that a page shows. Lifetime: one page run."""

    prediction: str | float | None
    confidence: float | None
    uncertain: bool
    #: (label, probability) in the order of the model; empty for a regression.
    probabilities: tuple[tuple[str, float], ...] = ()
    unit: str = ""

    @classmethod
    def from_result(cls, result: Result, manifest: Mapping[str, Any]) -> PredictionOut:
        """From the return value of `Client.predict`."""
        return cls._create(result.prediction, result.confidence, result.uncertain, result.probabilities, manifest)

    @classmethod
    def from_row(cls, row: Mapping[str, Any], manifest: Mapping[str, Any]) -> PredictionOut:
        """From a row of the history."""
        return cls._create(row["prediction"], row["confidence"], row["uncertain"], row["probabilities"], manifest)

    @classmethod
    def _create(
        cls,
        prediction: str | float | None,
        confidence: float | None,
        uncertain: bool,  # noqa: FBT001 - a field of a prediction
        probabilities: Sequence[float],
        manifest: Mapping[str, Any],
    ) -> PredictionOut:
        output = manifest.get("output", {})
        labels = output.get("labels", ())
        pairs = tuple(zip(labels, probabilities, strict=True)) if len(labels) == len(probabilities) else ()
        return cls(
            prediction=prediction, confidence=confidence, uncertain=uncertain, probabilities=pairs, unit=output.get("unit", "")
        )


def verdict(view: PredictionOut, texts: Texts) -> str:
    """The predicted value in large type; an uncertain prediction has a badge before it."""
    if isinstance(view.prediction, float | int):
        unit = f' <span class="unit">{html.escape(view.unit)}</span>' if view.unit else ""
        return f'<p class="rv-kicker">{html.escape(texts["answer.value"])}</p>' + _large(texts.number(view.prediction), unit)
    label = str(view.prediction if view.prediction is not None else "–")
    if not view.uncertain:
        return f'<p class="rv-kicker">{html.escape(texts["answer.kicker"])}</p>' + _large(label)
    badge = f'<span class="rv-badge">{html.escape(texts["answer.uncertain"])}</span>'
    return badge + _large(texts("answer.likeliest", label=label))


def _large(text: str, suffix: str = "") -> str:
    return f'<p class="rv-verdict" data-testid="verdict">{html.escape(text)}{suffix}</p>'


def bars(view: PredictionOut, texts: Texts) -> str:
    """A bar for every label, highest probability first; more than ten are folded."""
    ranking = sorted(view.probabilities, key=lambda pair: -pair[1])
    top = ranking[0][0] if ranking else None
    rows = [_bar(label, share, texts, chosen=label == top) for label, share in ranking]
    visible, folded = rows[:_BARS], rows[_BARS:]
    more = ""
    if folded:
        summary = html.escape(texts("answer.more", count=len(folded)))
        more = f'<details class="rv-more"><summary>{summary}</summary><ul class="rv-bars">{"".join(folded)}</ul></details>'
    return f'<ul class="rv-bars">{"".join(visible)}</ul>{more}' if visible else ""


def _bar(label: str, share: float, texts: Texts, *, chosen: bool) -> str:
    return (
        f'<li class="{"chosen" if chosen else ""}"><span class="name">{html.escape(label)}</span>'
        f'<div class="lane"><div class="share" style="width:{share * 100:.2f}%"></div></div>'
        f'<span class="figure">{html.escape(texts.percent(share))}</span></li>'
    )


def card(view: PredictionOut, texts: Texts) -> str:
    """Verdict and bars in a frame."""
    return f'<div class="rv-card{" rv-unsure" if view.uncertain else ""}">{verdict(view, texts)}{bars(view, texts)}</div>'


def short(view: PredictionOut, texts: Texts) -> str:
    """The predicted value as plain text, for a table or a thumbnail."""
    if isinstance(view.prediction, float | int):
        return f"{texts.number(view.prediction)} {view.unit}".strip()
    return "–" if view.prediction is None else str(view.prediction)
