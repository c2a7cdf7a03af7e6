"""How a model learned, epoch by epoch: `metrics.json` keeps the numbers, `figures/learning_curves.png` shows them.

[{"epoch": 1, "loss": 0.7, "validation_loss": 0.6}, …] ─ one panel a quantity ─► PNG
                                                        its training and its held-out curve together
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
#: What the held-out figures of an epoch may begin with, as this program and as Keras call them.
_HELD_OUT = ("validation_", "val_")
_PANEL_INCHES = (4.4, 3.6)
_MOST_PANELS = 6


def draw_learning(
    learning: Sequence[Mapping[str, float]],
    words: CardWords = CardWords(),  # noqa: B008 - a frozen value
) -> dict[str, bytes]:
    """The learning curves by their path in the package; nothing for fewer than two epochs. Raises MissingDependencyError."""
    if len(learning) < 2:
        return {}
    quantities = list(dict.fromkeys(_quantity(name) for epoch in learning for name in epoch if name != "epoch"))[:_MOST_PANELS]
    if not quantities:
        return {}
    figure = new_figure((_PANEL_INCHES[0] * len(quantities), _PANEL_INCHES[1]))
    for place, quantity in enumerate(quantities, start=1):
        draw_panel(figure.add_subplot(1, len(quantities), place), learning, quantity, words)
    return {CURVES: png_bytes(figure)}


def draw_panel(
    axes: Any,
    learning: Sequence[Mapping[str, float]],
    quantity: str,
    words: CardWords = CardWords(),  # noqa: B008 - a frozen value
) -> None:
    """One quantity over the epochs, a line for each side of the split that told it."""
    for name in dict.fromkeys(name for epoch in learning for name in epoch if name != "epoch" and _quantity(name) == quantity):
        points = [(epoch["epoch"], epoch[name]) for epoch in learning if name in epoch and math.isfinite(epoch[name])]
        axes.plot([at for at, _ in points], [value for _, value in points], label=_side(name, words), linewidth=1.4)
    axes.set(xlabel=words("epoch"), ylabel=_called(quantity, words))
    axes.xaxis.set_major_formatter(words.tick())
    axes.yaxis.set_major_formatter(words.tick())
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)


def _quantity(name: str) -> str:
    return next((name.removeprefix(start) for start in _HELD_OUT if name.startswith(start)), name)


def _called(quantity: str, words: CardWords) -> str:
    """The usual quantities in the language; what else a training tells, as it is called there."""
    usual = {"loss": words("loss"), "accuracy": words("accuracy")}
    return usual.get(quantity, quantity.replace("_", " "))


def _side(name: str, words: CardWords) -> str:
    return words("held out") if name.startswith(_HELD_OUT) else words("training")


def user_figures(drawings: Mapping[str, bytes]) -> dict[str, bytes]:
    """Figures that the user drew, by their path in the package. Raises ConversionError for a name or content that is no PNG's."""
    for name, content in drawings.items():
        if "/" in name or not name.endswith(".png") or not path_is_plain(f"figures/{name}"):
            raise ConversionError(reason=f"'{name}' is no plain name of a PNG file")
        if not content.startswith(_PNG):
            raise ConversionError(reason=f"the figure '{name}' is no PNG")
    return {f"figures/{name}": content for name, content in drawings.items()}
