"""`relevo verify` and `relevo inspect`: is a package whole and honest, and what is in it.

package ─ verify ─► report            package ─ inspect ─► what it is
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from relevo.cli.options import AsJson
from relevo.cli.output import say, show_json, show_table, show_text
from relevo.cli.package_summary import classes, headline, proof
from relevo.cli.translate import language, number, translate
from relevo.domain.signature import ImageInput
from relevo.i18n.catalog import texts

if TYPE_CHECKING:
    from relevo.package.package import Package

Where = Annotated[Path, typer.Argument(help="The package: a folder or a .zip.", metavar="PACKAGE")]


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.command("verify")(verify)
    app.command("inspect")(inspect)


def verify(package: Where, *, as_json: AsJson = False) -> None:
    """Check a package, file by file and answer by answer."""
    from relevo.package.verify import verify as check

    report = check(package)
    if as_json:
        show_json(report)
    else:
        say(f"{report.name} {report.digest[:12]} is whole: {report.files} files as they were packed.")
        difference = number(report.largest_difference, digits=3)
        say(f"{report.golden} golden examples answer as the original did; largest difference {difference}.")


def inspect(
    package: Where,
    *,
    card: Annotated[bool, typer.Option("--card", help="Print the model card.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what a package holds."""
    from relevo.package.package import open_package

    opened = open_package(package)
    if card:
        show_text(_card(opened))
    elif as_json:
        show_json({"digest": opened.digest, "manifest": opened.manifest, "metrics": opened.metrics})
    else:
        show_table(("", ""), [(translate(name), told) for name, told in _facts(opened) if told], empty="")


def _card(package: Package) -> str:
    """The card in the language spoken, where it is ours."""
    from relevo.package.card.model_card import card_for
    from relevo.package.layout import CARD, PROFILE

    paths = package.paths()
    return card_for(
        package.read(CARD).decode(),
        package.manifest,
        package.metrics,
        [path for path in paths if path.startswith("figures/")],
        profiled=PROFILE in paths,
        language=language(),
    )


def _facts(package: Package) -> list[tuple[str, str]]:
    manifest = package.manifest
    lineage = manifest.lineage
    return [
        ("name", manifest.name),
        ("description", manifest.description),
        ("digest", package.digest),
        ("input", translate(_input(package))),
        ("task", translate(manifest.output.task)),
        ("labels", ", ".join(manifest.output.labels)),
        ("classes", classes(manifest.output)),
        ("unit", manifest.output.unit),
        ("decision", translate(_decision(package)) if manifest.output.labels else ""),
        ("framework", lineage.framework),
        ("converted by", ", ".join(f"{library} {version}" for library, version in lineage.converter.items())),
        ("proof", translate(proof(lineage))),
        *((name.replace("_", " "), number(figure)) for name, figure in headline(package.metrics).items()),
        ("files", str(len(package.paths()))),
    ]


def _decision(package: Package) -> str:
    from relevo.domain.decision import ThresholdDecision

    rule, labels = package.manifest.decision, package.manifest.output.labels
    if isinstance(rule, ThresholdDecision) and rule.accept == rule.reject:
        return f"{labels[1]} from {number(rule.accept)} on, else {labels[0]}"
    if isinstance(rule, ThresholdDecision):
        return f"{labels[1]} from {number(rule.accept)} on, {labels[0]} up to {number(rule.reject)}, uncertain between"
    if package.manifest.output.label_column:
        own = f"the label that the model itself answers, uncertain below {number(rule.least)}"
        return own if rule.least else "the label that the model itself answers"
    return f"the most probable label, uncertain below {number(rule.least)}" if rule.least else "the most probable label"


def _input(package: Package) -> str:
    wanted = package.manifest.input
    if isinstance(wanted, ImageInput):
        return f"image {wanted.width} × {wanted.height} {wanted.mode}"
    kinds = texts("card", language())
    fields = ", ".join(f"{field.name} ({kinds.get(field.kind, field.kind)})" for field in wanted.fields)
    return f"record: {fields}"
