"""An answer as a person reads it: the verdict, how sure, a bar for every label. Whatever came from outside is escaped.

Result or row of the history ─► Told ─► verdict(told)   bars(told)   line under a thumbnail
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
class Told:
    """What a model said; lives as long as a run."""

    prediction: str | float | None
    confidence: float | None
    uncertain: bool
    #: Label and share, in the model's order; empty for a regression.
    shares: tuple[tuple[str, float], ...] = ()
    unit: str = ""

    @classmethod
    def of_result(cls, result: Result, manifest: Mapping[str, Any]) -> Told:
        """What `Client.predict` gave."""
        return cls._of(result.prediction, result.confidence, result.uncertain, result.probabilities, manifest)

    @classmethod
    def of_row(cls, row: Mapping[str, Any], manifest: Mapping[str, Any]) -> Told:
        """A row of the history."""
        return cls._of(row["prediction"], row["confidence"], row["uncertain"], row["probabilities"], manifest)

    @classmethod
    def _of(
        cls,
        prediction: str | float | None,
        confidence: float | None,
        uncertain: bool,  # noqa: FBT001 - a field of an answer
        shares: Sequence[float],
        manifest: Mapping[str, Any],
    ) -> Told:
        output = manifest.get("output", {})
        labels = output.get("labels", ())
        named = tuple(zip(labels, shares, strict=True)) if len(labels) == len(shares) else ()
        return cls(prediction=prediction, confidence=confidence, uncertain=uncertain, shares=named, unit=output.get("unit", ""))


def verdict(told: Told, words: Texts) -> str:
    """The answer, large; an uncertain one says so first."""
    if isinstance(told.prediction, float | int):
        unit = f' <span class="unit">{html.escape(told.unit)}</span>' if told.unit else ""
        return f'<p class="rv-kicker">{html.escape(words["answer.value"])}</p>' + _large(words.number(told.prediction), unit)
    word = str(told.prediction if told.prediction is not None else "–")
    if not told.uncertain:
        return f'<p class="rv-kicker">{html.escape(words["answer.kicker"])}</p>' + _large(word)
    badge = f'<span class="rv-badge">{html.escape(words["answer.uncertain"])}</span>'
    return badge + _large(words("answer.likeliest", label=word))


def _large(text: str, after: str = "") -> str:
    return f'<p class="rv-verdict" data-testid="verdict">{html.escape(text)}{after}</p>'


def bars(told: Told, words: Texts) -> str:
    """A bar for every label, the likeliest first; beyond ten they fold."""
    likeliest = sorted(told.shares, key=lambda pair: -pair[1])
    top = likeliest[0][0] if likeliest else None
    rows = [_bar(label, share, words, chosen=label == top) for label, share in likeliest]
    shown, folded = rows[:_BARS], rows[_BARS:]
    more = ""
    if folded:
        told_more = html.escape(words("answer.more", count=len(folded)))
        more = f'<details class="rv-more"><summary>{told_more}</summary><ul class="rv-bars">{"".join(folded)}</ul></details>'
    return f'<ul class="rv-bars">{"".join(shown)}</ul>{more}' if shown else ""


def _bar(label: str, share: float, words: Texts, *, chosen: bool) -> str:
    return (
        f'<li class="{"chosen" if chosen else ""}"><span class="name">{html.escape(label)}</span>'
        f'<div class="lane"><div class="share" style="width:{share * 100:.2f}%"></div></div>'
        f'<span class="figure">{html.escape(words.percent(share))}</span></li>'
    )


def card(told: Told, words: Texts) -> str:
    """Verdict and bars in a frame."""
    return f'<div class="rv-card{" rv-unsure" if told.uncertain else ""}">{verdict(told, words)}{bars(told, words)}</div>'


def short(told: Told, words: Texts) -> str:
    """The answer in a few words, for a table or a thumbnail."""
    if isinstance(told.prediction, float | int):
        return f"{words.number(told.prediction)} {told.unit}".strip()
    return "–" if told.prediction is None else str(told.prediction)
