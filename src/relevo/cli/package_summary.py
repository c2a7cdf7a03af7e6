"""Options and summary that `relevo train` and `relevo import` share: where a package goes, and what was registered."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from relevo.cli.output import warn
from relevo.cli.translate import number, translate
from relevo.domain.preprocessing import MatrixSteps
from relevo.errors import PromotionRefusedError

#: Libraries whose models can store column names; for these the order is only checked if the user stated it.
_WITH_COLUMN_NAMES = ("scikit-learn", "XGBoost", "LightGBM")
_MAX_COLUMNS = 40

if TYPE_CHECKING:
    from datetime import datetime

    from relevo.domain.manifest import Lineage, Manifest
    from relevo.domain.signature import Output
    from relevo.package.package import Package
    from relevo.package.promotion_guard import Takeover
    from relevo.store.registry import Version

#: Width in characters of one side of a comparison.
_SIDE_WIDTH = 40
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


def summary(
    package: Package,
    version: Version | None,
    alias: str,
    *,
    began: datetime,
    champion: int | None = None,
    imported: bool = False,
    ordered: bool = False,
) -> str:
    """The summary of a package: metrics on held-out rows, parity, version and alias. began: time before the registration.

    champion: the version that answers requests to the model.
    imported: whether it comes from a model file; then the kind of its scores is shown.
    ordered: whether the user stated the order of its columns.
    """
    facts = [("package", f"{package.manifest.name} {package.digest[:12]}")]
    facts += [(name.replace("_", " "), number(value)) for name, value in headline(package.metrics).items()]
    facts += [("classes", shown)] if (shown := classes(package.manifest.output)) else []
    facts += [("scores", translate(scores(package.manifest.output)))] if imported else []
    facts += [("columns", translate(shown))] if imported and (shown := columns(package.manifest, ordered=ordered)) else []
    facts.append(("proof", translate(proof(package.manifest.lineage))))
    if version is not None:
        alias_text = f"{version.model} {version.number}, named {alias}"
        if alias != "champion" and champion == version.number:
            alias_text = f"{version.model} {version.number}, named {alias} and champion"
        facts.append(("version", translate(alias_text if version.at >= began else f"unchanged: already {alias_text}")))
        if champion not in (None, version.number):
            hint = f"version {champion}; `relevo models alias {version.model} champion {version.number}` lets the new one answer"
            facts.append(("answers", translate(hint)))
    rows = [(translate(name), fact) for name, fact in facts]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {fact}" for name, fact in rows)


def classes(output: Output) -> str:
    """The mapping of classes to labels, if they differ."""
    return ", ".join(f"{name} → {label}" for name, label in zip(output.classes, output.labels, strict=False))


def columns(manifest: Manifest, *, ordered: bool) -> str:
    """The order of the columns of a matrix, if the model has no column names to check it."""
    steps = manifest.steps
    if not isinstance(steps, MatrixSteps) or len(steps.columns) < 2 or any(column.equals is not None for column in steps.columns):
        return ""
    if not ordered and manifest.lineage.framework.startswith(_WITH_COLUMN_NAMES):
        return ""
    names = ", ".join(column.field for column in steps.columns[:_MAX_COLUMNS]) + (
        ", …" if len(steps.columns) > _MAX_COLUMNS else ""
    )
    return f"{names}: NOT CHECKED, a model without names for its columns cannot tell whether it was trained in this order"


def reason(text: str, default: str, *, force: bool = False) -> str:
    """The reason to record for an alias move: the user's own text, or the translated default of the command.

    Raises BadParameter when force is used without a reason.
    """
    if force and text == default:
        raise typer.BadParameter("goes with a reason of your own: --why", param_hint="--force")
    return translate(text) if text == default else text


def proof(lineage: Lineage) -> str:
    """How parity with the original model was tested, or a clear statement that it was not."""
    parity = lineage.parity
    if parity.reference == "none":
        return "NOT PROVED: nobody asked the original; give its own scores with --outputs FILE, for the rows of --samples"
    library, _, written_by = lineage.framework.partition(" ")
    read_by = lineage.converter.get(library, written_by)
    original = "the original" if read_by == written_by else f"the original, read by {library} {read_by},"
    reference = {"original": original, "supplied": "the outputs you gave"}.get(parity.reference, "the " + parity.reference)
    rows = f"{parity.rows} samples" if parity.samples == "user" else f"{parity.rows} made-up samples"
    difference = number(parity.largest_difference, digits=3)
    return f"answers as {reference} on {rows}, largest difference {difference}"


def scores(output: Output) -> str:
    """The kind of the model's scores, and how they are converted."""
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
    """The scalar metrics; for a metric with a confidence interval, its value."""
    values = {name: value.get("value") if isinstance(value, dict) else value for name, value in metrics.items()}
    return {name: value for name, value in values.items() if isinstance(value, int | float) and not isinstance(value, bool)}


def show_takeover(takeover: Takeover | PromotionRefusedError) -> None:
    """Prints the comparison of two versions."""
    facts = (
        takeover.facts
        if isinstance(takeover, PromotionRefusedError)
        else {"before": takeover.before, "version": takeover.after, "rows": takeover.rows}
    )
    before, after, rows = (facts.get(name) for name in ("before", "version", "rows"))
    if isinstance(rows, tuple):
        for name, old, new in (("", translate(f"version {before}"), translate(f"version {after}")), *rows):
            warn(f"{name and translate(name):<14} {old[:_SIDE_WIDTH]:<{_SIDE_WIDTH}}  {new[:_SIDE_WIDTH]}")
