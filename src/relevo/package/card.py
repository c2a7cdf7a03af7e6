"""The model card, Markdown that a person reads before trusting the model: `card.md`.

manifest, metrics ─► what it is · input · answer · figures · proof · origin · limits
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from relevo.domain.decision import Bands
from relevo.domain.preprocessing import ImageSteps
from relevo.domain.signature import Field, FieldKind, ImageInput, Task
from relevo.package.profile import LEAST_ROWS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from relevo.domain.manifest import Manifest, Precision

_FIELDS_SHOWN = 60
_LABELS_SHOWN = 60
_CHOICES_SHOWN = 12


def write_card(manifest: Manifest, metrics: dict[str, Any], figures: Sequence[str], *, profiled: bool) -> str:
    """The card. figures: paths in the package; profiled: whether a drift profile was taken."""
    sections = [
        _title(manifest),
        _input(manifest),
        _answer(manifest),
        _measured(manifest, metrics, figures),
        _proof(manifest),
        _origin(manifest),
        _limits(manifest, metrics, profiled=profiled),
    ]
    return "\n\n".join("\n".join(section) for section in sections) + "\n"


def plain(text: str) -> str:
    """A name as Markdown shows it: what would be markup or HTML is escaped, line ends are spaces."""
    escaped = "".join(f"\\{sign}" if sign in r"\`*_{}[]<>#|!" else sign for sign in " ".join(text.split()))
    return escaped or "(empty)"


def _title(manifest: Manifest) -> list[str]:
    what = "a value" if manifest.output.task is Task.REGRESSION else f"one of {len(manifest.output.labels)} labels"
    comes = "a picture" if isinstance(manifest.input, ImageInput) else "a record"
    lines = [f"# {plain(manifest.name)}", "", f"Takes {comes}, answers {what}."]
    return [*lines, "", plain(manifest.description)] if manifest.description else lines


def _input(manifest: Manifest) -> list[str]:
    wanted = manifest.input
    if isinstance(wanted, ImageInput):
        colours = "grey" if wanted.mode == "L" else "colour"
        lines = ["## Input", "", f"A picture (JPEG, PNG or WebP), brought to {wanted.width} × {wanted.height} pixels in {colours}."]
        if isinstance(manifest.steps, ImageSteps):
            lines.append(f"Resampling: {manifest.steps.resample}; each pixel is multiplied by {manifest.steps.scale:g}.")
        return [*lines, plain(wanted.description)] if wanted.description else lines
    rows = [_field_row(field) for field in wanted.fields[:_FIELDS_SHOWN]]
    more = len(wanted.fields) - _FIELDS_SHOWN
    table = ["## Input", "", "| field | kind | required | values |", "|---|---|---|---|", *rows]
    return [*table, "", f"… and {more} more fields."] if more > 0 else table


def _field_row(field: Field) -> str:
    values = "e.g. " + plain(str(field.example)) if field.example is not None else ""
    if field.kind is FieldKind.CATEGORY:
        shown = ", ".join(plain(text) for text in field.categories[:_CHOICES_SHOWN])
        values = shown + (", …" if len(field.categories) > _CHOICES_SHOWN else "") + (" (no others)" if field.closed else "")
    unit = f" {plain(field.unit)}" if field.unit else ""
    return f"| {plain(field.name)} | {field.kind.value}{unit} | {'yes' if field.required else 'no'} | {values} |"


def _answer(manifest: Manifest) -> list[str]:
    output = manifest.output
    if output.task is Task.REGRESSION:
        return ["## Answer", "", f"A number{' in ' + plain(output.unit) if output.unit else ''}."]
    shown = ", ".join(plain(label) for label in output.labels[:_LABELS_SHOWN])
    lines = ["## Answer", "", f"Labels: {shown}{', …' if len(output.labels) > _LABELS_SHOWN else ''}.", "", _rule(manifest)]
    if output.activation != "none":
        lines += [
            "",
            f"Raw scores become probabilities by a {output.activation}; of a model of margins that is an order and no more.",
        ]
    if manifest.answer:
        also = ", ".join(f"{plain(name)} ({plain(fact)})" for name, fact in manifest.answer.items())
        lines += ["", f"Beside its own fields an answer carries: {also}."]
    return lines


def _rule(manifest: Manifest) -> str:
    rule = manifest.decision
    if isinstance(rule, Bands):
        low, high = (plain(label) for label in manifest.output.labels)
        return f"{high} from a score of {rule.accept:g} on, {low} up to {rule.reject:g}, *uncertain* between."
    return "The most probable label" + (f"; *uncertain* below a probability of {rule.least:g}." if rule.least else ".")


def _measured(manifest: Manifest, metrics: dict[str, Any], figures: Sequence[str]) -> list[str]:
    if not metrics:
        return ["## Measured", "", "Nothing: no truth was given when it was packed."]
    lines = [
        "## Measured",
        "",
        f"On {metrics['rows']} held-out rows, answered by this package.",
        "",
        "| figure | value |",
        "|---|---|",
    ]
    lines += _regression_rows(metrics) if manifest.output.task is Task.REGRESSION else _classification_rows(metrics)
    lines += _per_class(metrics)
    for path in sorted(figures):
        lines += ["", f"![{path.rpartition('/')[2].removesuffix('.png')}]({path})"]
    return lines


def _regression_rows(metrics: dict[str, Any]) -> list[str]:
    return [
        f"| {name} | {metrics[key]:.4g} |"
        for name, key in (("MAE", "mae"), ("RMSE", "rmse"), ("R²", "r2"))
        if metrics[key] is not None
    ]


def _classification_rows(metrics: dict[str, Any]) -> list[str]:
    rows = [f"| accuracy | {_with_interval(metrics['accuracy'])} |"]
    if "accuracy_when_sure" in metrics:
        rows.append(f"| accuracy when not uncertain | {_with_interval(metrics['accuracy_when_sure'])} |")
        rows.append(f"| share uncertain | {metrics['uncertain_share']:.4f} |")
    rows += [f"| macro F1 | {metrics['macro_f1']:.4f} |", f"| log-loss (nats) | {metrics['log_loss']:.4f} |"]
    if "roc_auc" in metrics:
        rows.append(f"| ROC AUC | {metrics['roc_auc']:.4f} |")
    table = metrics["calibration"]
    rows.append(f"| expected calibration error, {len(table['count'])} bins | {table['expected_error']:.4f} |")
    rows.append(f"| temperature that would calibrate it (not applied) | {table['temperature']:.3f} |")
    return rows


def _with_interval(figure: dict[str, Any]) -> str:
    if figure["value"] is None:
        return "no rows"
    return f"{figure['value']:.4f} (95 % interval {figure['low']:.4f} to {figure['high']:.4f}, {figure['rows']} rows)"


def _per_class(metrics: dict[str, Any]) -> Iterator[str]:
    if "per_class" not in metrics:
        return
    yield from ("", "| label | rows | precision | recall | F1 |", "|---|---|---|---|---|")
    for entry in metrics["per_class"][:_LABELS_SHOWN]:
        figures = " | ".join(f"{entry[name]:.3f}" for name in ("precision", "recall", "f1"))
        yield f"| {plain(entry['label'])} | {entry['rows']} | {figures} |"


def _proof(manifest: Manifest) -> list[str]:
    parity = manifest.lineage.parity
    if parity.against == "none":
        return [
            "## Proof",
            "",
            "**NOT PROVED.** Nobody asked the original: whether this package answers as it did is not known.",
            *_smaller_numbers(manifest.lineage.precision),
        ]
    whose = "given by the user" if parity.samples == "user" else "generated from the signature"
    return [
        "## Proof",
        "",
        f"Of {parity.rows} samples {whose}, {_witness(parity.against)} the same:",
        f"largest difference {parity.largest_difference:.2g} (allowed {parity.tolerance:.2g} of max(1, |score|)),",
        f"the same label for {100 * parity.labels_agreeing:.2f} %.",
        *_smaller_numbers(manifest.lineage.precision),
    ]


def _smaller_numbers(told: Precision | None) -> list[str]:
    """What computing in smaller numbers costs, where it does."""
    if told is None:
        return []
    figure = f"; {told.metric} {told.before:.4f} before, {told.after:.4f} now" if told.metric else ""
    return [
        "",
        f"That was in single precision. It computes in **{told.numbers}**: of {told.rows} samples",
        f"{100 * told.labels_agreeing:.2f} % are answered alike, largest difference {told.largest_difference:.2g}{figure}",
        f"(a loss of {told.max_loss:g} was allowed);",
        f"{told.bytes_after / 2**20:.1f} MiB in place of {told.bytes_before / 2**20:.1f}.",
    ]


def _witness(against: str) -> str:
    """Whose word it is."""
    if against == "supplied":
        return "the original's answers, which the user gave, are"
    _, inside, library = against.partition(" in ")
    where = f", read by {plain(library)} in an environment of its own time," if inside else ""
    return f"the original model{where} answered"


def _origin(manifest: Manifest) -> list[str]:
    lineage = manifest.lineage
    tools = ", ".join(f"{name} {version}" for name, version in sorted(lineage.converter.items()))
    lines = [
        "## Origin",
        "",
        f"- Written by {plain(lineage.framework)}",
        f"- Converted to ONNX by {plain(tools) if tools else 'nobody: it was ONNX'}",
    ]
    if lineage.source_sha256:
        lines.append(f"- Original file: SHA-256 `{lineage.source_sha256}`")
    if lineage.quarantine:
        lines.append(f"- Opened in a {plain(lineage.quarantine)} sandbox")
    if lineage.training_data:
        lines.append(f"- Training data: SHA-256 `{plain(lineage.training_data)}`")
    return lines


def _limits(manifest: Manifest, metrics: dict[str, Any], *, profiled: bool) -> list[str]:
    lines = ["## Limits", "", "- The figures hold for data like the held-out rows; for other data nothing was measured."]
    lines += [f"- The figures were {plain(text)}." for text in metrics.get("warnings", ())]
    if profiled:
        lines.append("- A drift profile of these rows is in `profile.npz`.")
    else:
        lines.append(f"- No drift profile: it takes the truth of at least {LEAST_ROWS} held-out rows.")
    if manifest.lineage.parity.labels_agreeing < 1.0:
        lines.append("- Some samples got another label than from the original: their best two scores are equal but for rounding.")
    return lines
