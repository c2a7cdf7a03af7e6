"""`CNN_Model.png`: what the network is made of, and how it learned.

layers, epochs ─ matplotlib, without a window ─► a box a layer, with shape and weights │ accuracy and loss, training and held out
"""

from __future__ import annotations

import io
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

#: Layers that have a part in every answer, and their colours.
COLOURS = {
    "InputLayer": "#dfe3e8",
    "Conv2D": "#9cc3e6",
    "MaxPooling2D": "#f3c7a2",
    "GlobalAveragePooling2D": "#f3c7a2",
    "Dropout": "#e4d4ef",
    "Dense": "#b7dfb9",
}


def cnn_model(model: Any, learning: list[dict[str, float]]) -> bytes:
    """The picture as a PNG. learning: one dict an epoch, with accuracy, loss and, held out, val_accuracy and val_loss."""
    figure = Figure(figsize=(11, 6.4), layout="constrained")
    FigureCanvasAgg(figure)
    parts = figure.add_gridspec(2, 2, width_ratios=(1, 1.5))
    architecture(figure.add_subplot(parts[:, 0]), model)
    for row, name in enumerate(("accuracy", "loss")):
        curves(figure.add_subplot(parts[row, 1]), learning, name)
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=110, metadata={"Software": None})
    return out.getvalue()


def architecture(axes: Any, model: Any) -> None:
    """A box a layer from top to bottom."""
    shown = [layer for layer in model.layers if type(layer).__name__ in COLOURS]
    axes.set(xlim=(0, 1), ylim=(len(shown), 0))
    axes.axis("off")
    axes.set_title(f"{model.count_params():,} weights", fontsize=10)
    for place, layer in enumerate(shown):
        kind = type(layer).__name__
        shape = " × ".join(str(axis) for axis in layer.output.shape[1:])
        weights = f", {layer.count_params():,}" if layer.count_params() else ""
        box = {"boxstyle": "round,pad=0.35", "facecolor": COLOURS[kind], "edgecolor": "none"}
        axes.text(0.5, place + 0.5, f"{kind}   {shape}{weights}", ha="center", va="center", fontsize=8.5, bbox=box)


def curves(axes: Any, learning: list[dict[str, float]], name: str) -> None:
    """One figure over the epochs, for what is learnt and for what is held out."""
    for key, label in ((name, "training"), (f"val_{name}", "held out")):
        points = [(epoch["epoch"], epoch[key]) for epoch in learning if key in epoch]
        axes.plot([at for at, _ in points], [value for _, value in points], label=label)
    axes.set(xlabel="epoch", ylabel=name)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
