"""Draws the training curves: metrics by epoch, from `metrics.json` to `figures/learning_curves.png`.

[{"epoch": 1, "loss": 0.7, "validation_loss": 0.6}, …] ─ one panel per metric, with training and held-out curve ─► PNG
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from relevo.errors import ConversionError
from relevo.package.card.plots import new_figure, png_bytes
from relevo.package.card.texts import CardWords
from relevo.package.layout import path_is_plain

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

CURVES = "figures/learning_curves.png"
_PNG = b"\x89PNG\r\n\x1a\n"
#: Prefixes of held-out metrics: those of Relevo and of Keras.
_HELD_OUT = ("validation_", "val_")
_PANEL_INCHES = (4.4, 3.6)
_MAX_PANELS = 6


def draw_training_curves(
    training_curves: Sequence[Mapping[str, float]],
    words: CardWords = CardWords(),  # noqa: B008 - a frozen value
) -> dict[str, bytes]:
    """The training curves by their path in the package; empty for fewer than two epochs. Raises MissingDependencyError."""
    if len(training_curves) < 2:
        return {}
    quantities = list(dict.fromkeys(_quantity(name) for epoch in training_curves for name in epoch if name != "epoch"))[
        :_MAX_PANELS
    ]
    if not quantities:
        return {}
    figure = new_figure((_PANEL_INCHES[0] * len(quantities), _PANEL_INCHES[1]))
    for position, quantity in enumerate(quantities, start=1):
        draw_panel(figure.add_subplot(1, len(quantities), position), training_curves, quantity, words)
    return {CURVES: png_bytes(figure)}


def draw_panel(
    axes: Any,
    learning: Sequence[Mapping[str, float]],
    quantity: str,
    words: CardWords = CardWords(),  # noqa: B008 - a frozen value
) -> None:
    """Plots one metric over the epochs, with a line for each side of the split that has it."""
    for name in dict.fromkeys(name for epoch in learning for name in epoch if name != "epoch" and _quantity(name) == quantity):
        points = [(epoch["epoch"], epoch[name]) for epoch in learning if name in epoch and math.isfinite(epoch[name])]
        axes.plot(
            [epoch_number for epoch_number, _ in points],
            [value for _, value in points],
            label=_curve_label(name, words),
            linewidth=1.4,
        )
    axes.set(xlabel=words("epoch"), ylabel=_title(quantity, words))
    axes.xaxis.set_major_formatter(words.tick_label())
    axes.yaxis.set_major_formatter(words.tick_label())
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)


def _quantity(name: str) -> str:
    return next((name.removeprefix(start) for start in _HELD_OUT if name.startswith(start)), name)


def _title(quantity: str, words: CardWords) -> str:
    """The translated name of a common metric; other metrics keep their own name."""
    translated = {"loss": words("loss"), "accuracy": words("accuracy")}
    return translated.get(quantity, quantity.replace("_", " "))


def _curve_label(name: str, words: CardWords) -> str:
    return words("held out") if name.startswith(_HELD_OUT) else words("training")


def user_figures(extra_figures: Mapping[str, bytes]) -> dict[str, bytes]:
    """The user's figures by their path in the package. Raises ConversionError for an invalid name or a content that is no PNG."""
    for name, content in extra_figures.items():
        if "/" in name or not name.endswith(".png") or not path_is_plain(f"figures/{name}"):
            raise ConversionError(reason=f"'{name}' is no plain name of a PNG file")
        if not content.startswith(_PNG):
            raise ConversionError(reason=f"the figure '{name}' is no PNG")
    return {f"figures/{name}": content for name, content in extra_figures.items()}
