"""What `relevo train` and `relevo import` ask about the package they make, and what they tell once it is registered."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from relevo.cli.output import warn
from relevo.cli.translate import number, translate
from relevo.domain.preprocessing import MatrixSteps
from relevo.errors import PromotionRefusedError

#: Libraries whose models can name their columns; of them only one that does not is asked for the order.
_NAMING = ("scikit-learn", "XGBoost", "LightGBM")
_COLUMNS_SHOWN = 40

if TYPE_CHECKING:
    from datetime import datetime

    from relevo.domain.manifest import Lineage, Manifest
    from relevo.domain.signature import Output
    from relevo.package.package import Package
    from relevo.package.promotion_guard import Takeover
    from relevo.store.registry import Version

#: Letters of one side of a comparison.
_SIDE = 40
Out = Annotated[Path | None, typer.Option("--out", help="Keep the package here too: a folder, or a .zip.", metavar="PATH")]
Register = Annotated[bool, typer.Option("--register/--no-register", help="Make it the model's next version.")]
Alias = Annotated[str, typer.Option("--alias", help="The alias that names the new version.", metavar="NAME")]
Force = Annotated[
    bool,
    typer.Option(
        "--force", help="Let it answer although clients of the former version would miss something, or it is worse; needs --why."
    ),
]
Why = Annotated[str, typer.Option("--why", help="The reason, kept in the alias's history.", metavar="TEXT")]


def told(
    package: Package,
    version: Version | None,
    alias: str,
    *,
    began: datetime,
    champion: int | None = None,
    imported: bool = False,
    ordered: bool = False,
) -> str:
    """The package, how it did on held-out rows, and where it stands now. began: before it was registered.

    champion: the version that answers for the model.
    imported: it was somebody's file, of whose scores it is said what they were found to be.
    ordered: a person stated the order of its columns.
    """
    facts = [("package", f"{package.manifest.name} {package.digest[:12]}")]
    facts += [(name.replace("_", " "), number(figure)) for name, figure in headline(package.metrics).items()]
    facts += [("classes", shown)] if (shown := classes(package.manifest.output)) else []
    facts += [("scores", translate(scores(package.manifest.output)))] if imported else []
    facts += [("columns", translate(shown))] if imported and (shown := columns(package.manifest, ordered=ordered)) else []
    facts.append(("proof", translate(proof(package.manifest.lineage))))
    if version is not None:
        stands = f"{version.model} {version.number}, named {alias}"
        if alias != "champion" and champion == version.number:
            stands = f"{version.model} {version.number}, named {alias} and champion"
        facts.append(("version", translate(stands if version.at >= began else f"unchanged: already {stands}")))
        if champion not in (None, version.number):
            answers = f"version {champion}; `relevo models alias {version.model} champion {version.number}` lets the new one answer"
            facts.append(("answers", translate(answers)))
    named = [(translate(name), fact) for name, fact in facts]
    width = max(len(name) for name, _ in named)
    return "\n".join(f"{name:<{width}}  {fact}" for name, fact in named)


def classes(output: Output) -> str:
    """Which class of the model is shown as which label, where they differ."""
    return ", ".join(f"{name} → {label}" for name, label in zip(output.classes, output.labels, strict=False))


def columns(manifest: Manifest, *, ordered: bool) -> str:
    """The order of a matrix' columns, where the model has no names by which it could be checked."""
    steps = manifest.steps
    if not isinstance(steps, MatrixSteps) or len(steps.columns) < 2 or any(column.equals is not None for column in steps.columns):
        return ""
    if not ordered and manifest.lineage.framework.startswith(_NAMING):
        return ""
    names = ", ".join(column.field for column in steps.columns[:_COLUMNS_SHOWN]) + (
        ", …" if len(steps.columns) > _COLUMNS_SHOWN else ""
    )
    return f"{names}: NOT CHECKED, a model without names for its columns cannot tell whether it was trained in this order"


def reason(given: str, usual: str, *, force: bool = False) -> str:
    """Why an alias moves, kept for good: what a person gave, as it is; what a command says of itself, in their language.

    Raises BadParameter where it is forced and nobody gave a reason.
    """
    if force and given == usual:
        raise typer.BadParameter("goes with a reason of your own: --why", param_hint="--force")
    return translate(given) if given == usual else given


def proof(lineage: Lineage) -> str:
    """How it was proved that the package answers as the original did; where it was not, that is said loudly."""
    parity = lineage.parity
    if parity.against == "none":
        return "NOT PROVED: nobody asked the original; give its own scores with --outputs FILE, for the rows of --samples"
    library, _, wrote = lineage.framework.partition(" ")
    reads = lineage.converter.get(library, wrote)
    itself = "the original" if reads == wrote else f"the original, read by {library} {reads},"
    whose = {"original": itself, "supplied": "the outputs you gave"}.get(parity.against, "the " + parity.against)
    rows = f"{parity.rows} samples" if parity.samples == "user" else f"{parity.rows} made-up samples"
    difference = number(parity.largest_difference, digits=3)
    return f"answers as {whose} on {rows}, largest difference {difference}"


def scores(output: Output) -> str:
    """What the model's scores were found to be, and what becomes of them."""
    if not output.labels:
        return "a number"
    if output.independent:
        return "independent probabilities, which need not sum to one"
    return {
        "none": "probabilities",
        "softmax": "logits, made probabilities by a softmax",
        "sigmoid": "logits, made probabilities by a sigmoid",
        "percent": "percentages, divided by 100",
        "clip": "taken for probabilities, cut off at 0 and 1",
    }[output.activation]


def headline(metrics: dict[str, Any]) -> dict[str, float]:
    """The plain numbers among the metrics; of one with an interval its value."""
    found = {name: value.get("value") if isinstance(value, dict) else value for name, value in metrics.items()}
    return {name: value for name, value in found.items() if isinstance(value, int | float) and not isinstance(value, bool)}


def show_takeover(found: Takeover | PromotionRefusedError) -> None:
    """Two versions side by side."""
    facts = (
        found.facts
        if isinstance(found, PromotionRefusedError)
        else {"before": found.before, "version": found.after, "rows": found.rows}
    )
    before, after, rows = (facts.get(name) for name in ("before", "version", "rows"))
    if isinstance(rows, tuple):
        for what, old, new in (("", translate(f"version {before}"), translate(f"version {after}")), *rows):
            warn(f"{what and translate(what):<14} {old[:_SIDE]:<{_SIDE}}  {new[:_SIDE]}")
