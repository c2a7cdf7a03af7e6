"""Writes the model card, `card.md`: a Markdown description of the model for people.

manifest, metrics, language ─► title · input · answer · metrics and figures · parity · origin · limits
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from relevo.domain.decision import ThresholdDecision
from relevo.domain.preprocessing import ImageSteps, MatrixSteps, colour_of
from relevo.domain.signature import Field, FieldKind, ImageInput, RecordInput, Task
from relevo.i18n.catalog import LANGUAGES, facts_in
from relevo.package.card.texts import CardWords
from relevo.package.drift_reference import MIN_ROWS
from relevo.package.metrics import FEW_ROWS, RELIABLE_ROWS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from relevo.domain.manifest import Manifest, Precision
    from relevo.domain.preprocessing import Steps
    from relevo.domain.signature import Output

_MAX_FIELDS = 60
_MAX_LABELS = 60
_MAX_CHOICES = 12


def write_card(
    manifest: Manifest, metrics: dict[str, Any], figures: Sequence[str], *, profiled: bool, language: str = LANGUAGES[0]
) -> str:
    """The card in a language of catalog.LANGUAGES. figures: paths in the package; profiled: whether a drift profile was taken."""
    words = CardWords(language)
    sections = [
        _title(manifest, words),
        _input(manifest, words),
        _answer(manifest, words),
        _metrics(manifest, metrics, figures, words),
        _parity(manifest, words),
        _origin(manifest, words),
        _limits(manifest, metrics, words, profiled=profiled),
    ]
    return "\n\n".join("\n".join(section) for section in sections) + "\n"


def card_for(
    written: str, manifest: Manifest, metrics: dict[str, Any], figures: Sequence[str], *, profiled: bool, language: str
) -> str:
    """The card in this language: a generated card is regenerated, whatever its language; an edited card is returned unchanged."""
    generated = {code: write_card(manifest, metrics, figures, profiled=profiled, language=code) for code in LANGUAGES}
    return generated[language] if written in generated.values() else written


def plain(text: str) -> str:
    """The text escaped for Markdown and HTML, with line ends as spaces."""
    escaped = "".join(f"\\{sign}" if sign in r"\`*_{}[]<>#|!" else sign for sign in " ".join(text.split()))
    return escaped or "“”"


def _title(manifest: Manifest, words: CardWords) -> list[str]:
    lines = [f"# {plain(manifest.name)}", "", _summary(manifest, words)]
    return [*lines, "", plain(manifest.description)] if manifest.description else lines


def _summary(manifest: Manifest, words: CardWords) -> str:
    pictures = isinstance(manifest.input, ImageInput)
    if manifest.output.task is Task.REGRESSION:
        return words("Takes a picture, answers a value.") if pictures else words("Takes a record, answers a value.")
    count = words.whole(len(manifest.output.labels))
    if pictures:
        return words("Takes a picture, answers one of {count} labels.", count=count)
    return words("Takes a record, answers one of {count} labels.", count=count)


def _input(manifest: Manifest, words: CardWords) -> list[str]:
    signature = manifest.input
    if isinstance(signature, ImageInput):
        return _image_input(signature, manifest, words)
    headings = (words("field"), words("kind"), words("required"), words("values"))
    rows = [_field_row(field, words) for field in signature.fields[:_MAX_FIELDS]]
    more = len(signature.fields) - _MAX_FIELDS
    table = [f"## {words('Input')}", "", f"| {' | '.join(headings)} |", "|---|---|---|---|", *rows]
    lines = [*table, "", words("… and {more} more fields.", more=more)] if more > 0 else table
    return [*lines, *_policies(signature, manifest.steps, words)]


def _policies(signature: RecordInput, steps: Steps, words: CardWords) -> list[str]:
    """The policies for unknown fields and for missing required fields."""
    ignored, zero = signature.unknown_fields == "ignore", signature.missing_fields == "zero"
    missing_policy = words("A required field that is missing or null is refused.")
    if zero:
        missing_policy = words(
            "A required field that is missing, null or true/false counts as 0, as in the original, with a warning."
        )
    if zero and isinstance(steps, MatrixSteps) and steps.missing == "sparse":
        missing_policy = words("A required field that is missing or null counts as missing, as in the original, with a warning.")
    return [
        "",
        words("Unknown fields are ignored, with a warning.") if ignored else words("Unknown fields are refused."),
        missing_policy,
    ]


def _image_input(signature: ImageInput, manifest: Manifest, words: CardWords) -> list[str]:
    size = f"{signature.width} × {signature.height}"
    if signature.mode == "L":
        lines = [words("A picture, brought to {size} pixels in grey.", size=size)]
    else:
        lines = [words("A picture, brought to {size} pixels in colour.", size=size)]
    if isinstance(manifest.steps, ImageSteps):
        how, scale = manifest.steps.resample, words.number(manifest.steps.scale)
        lines.append(words("Resampling: {how}; each pixel is multiplied by {scale}.", how=how, scale=scale))
        lines.append(_image_policies(manifest.steps, words))
    lines = [f"## {words('Input')}", "", *lines]
    return [*lines, plain(signature.description)] if signature.description else lines


def _image_policies(steps: ImageSteps, words: CardWords) -> str:
    """The handling of EXIF orientation and transparency."""
    orientation = (
        words("The EXIF orientation is ignored.") if steps.orientation == "ignore" else words("The EXIF orientation is applied.")
    )
    if colour_of(steps.background) is None:
        return f"{orientation} {words('Transparency is dropped.')}"
    return f"{orientation} {words('Transparent pixels stand on this background: {colour}.', colour=steps.background)}"


def _field_row(field: Field, words: CardWords) -> str:
    values = words("e.g. {value}", value=plain(_example(field, words))) if field.example is not None else ""
    if field.kind is FieldKind.CATEGORY:
        shown = ", ".join(plain(text) for text in field.categories[:_MAX_CHOICES])
        more = ", …" if len(field.categories) > _MAX_CHOICES else ""
        values = shown + more + (f" ({words('no others')})" if field.restrict_to_categories else "")
    unit = f" {plain(field.unit)}" if field.unit else ""
    required = words("yes") if field.required else words("no")
    return f"| {plain(field.name)} | {_kind(field.kind, words)}{unit} | {required} | {values} |"


def _example(field: Field, words: CardWords) -> str:
    example = field.example
    return words.number(example, 15) if isinstance(example, int | float) and not isinstance(example, bool) else str(example)


def _kind(kind: FieldKind, words: CardWords) -> str:
    names = {
        FieldKind.NUMBER: words("number"),
        FieldKind.INTEGER: words("integer"),
        FieldKind.CATEGORY: words("category"),
        FieldKind.BOOLEAN: words("boolean"),
    }
    return names[kind]


def _answer(manifest: Manifest, words: CardWords) -> list[str]:
    output, title = manifest.output, f"## {words('Answer')}"
    if output.task is Task.REGRESSION:
        return [title, "", words("A number in {unit}.", unit=plain(output.unit)) if output.unit else words("A number.")]
    shown = ", ".join(plain(label) for label in output.labels[:_MAX_LABELS])
    more = ", …" if len(output.labels) > _MAX_LABELS else ""
    lines = [title, "", words("Labels: {labels}.", labels=shown + more), ""]
    if output.classes:
        pairs = [f"{plain(name)} → {plain(label)}" for name, label in zip(output.classes, output.labels, strict=True)]
        lines += [words("The model's own names of them: {classes}.", classes=", ".join(pairs[:_MAX_LABELS]) + more), ""]
    lines.append(_rule(manifest, words))
    lines += ["", _scores(output, words)]
    if manifest.synonyms:
        lines += ["", words("Old clients may call it: {names}.", names=", ".join(plain(synonym) for synonym in manifest.synonyms))]
    if manifest.answer:
        fields = ", ".join(f"{plain(name)} ({plain(fact)})" for name, fact in manifest.answer.items())
        lines += ["", words("Beside its own fields an answer carries: {fields}.", fields=fields)]
    return lines


def _scores(output: Output, words: CardWords) -> str:
    """The meaning of the scores, and how they become probabilities."""
    if output.independent:
        template = "Each label's probability stands for itself: they need not sum to one, and the answer names only the largest."
        return words(template)
    if output.activation == "none":
        return words("The scores are the model's own probabilities.")
    if output.activation == "percent":
        return words("The scores are percentages, and are divided by 100.")
    if output.activation == "clip":
        return words("The scores are taken for probabilities, and are cut off at 0 and 1.")
    template = "Raw scores become probabilities by a {how}; of a model of margins that is an order and no more."
    return words(template, how=output.activation)


def _rule(manifest: Manifest, words: CardWords) -> str:
    rule = manifest.decision
    if isinstance(rule, ThresholdDecision):
        low, high = (plain(label) for label in manifest.output.labels)
        if rule.accept_at == rule.reject_at:
            return words("{high} from a score of {accept} on, else {low}.", high=high, low=low, accept=words.number(rule.accept_at))
        template = "{high} from a score of {accept} on, {low} up to {reject}, *uncertain* between."
        return words(template, high=high, low=low, accept=words.number(rule.accept_at), reject=words.number(rule.reject_at))
    if manifest.output.label_column:
        template = "The label that the model itself answers, which need not be the most probable one."
        if not rule.min_confidence:
            return words(template)
        return " ".join(
            [words(template), words("*Uncertain* below a probability of {least}.", least=words.number(rule.min_confidence))]
        )
    if not rule.min_confidence:
        return words("The most probable label.")
    return words("The most probable label; *uncertain* below a probability of {least}.", least=words.number(rule.min_confidence))


def _metrics(manifest: Manifest, metrics: dict[str, Any], figures: Sequence[str], words: CardWords) -> list[str]:
    title = f"## {words('Measured')}"
    if not metrics:
        return [title, "", words("Nothing: no truth was given when it was packed.")]
    lines = [
        title,
        "",
        words("On {rows} held-out rows, answered by this package.", rows=words.whole(metrics["rows"])),
        "",
        f"| {words('figure')} | {words('value')} |",
        "|---|---|",
    ]
    regression = manifest.output.task is Task.REGRESSION
    lines += _regression_rows(metrics, words) if regression else _classification_rows(metrics, words)
    lines += _per_class(metrics, words)
    for path in sorted(figures):
        lines += ["", f"![{path.rpartition('/')[2].removesuffix('.png')}]({path})"]
    return lines


def _regression_rows(metrics: dict[str, Any], words: CardWords) -> list[str]:
    return [
        f"| {name} | {words.number(metrics[key], 4)} |"
        for name, key in (("MAE", "mae"), ("RMSE", "rmse"), ("R²", "r2"))
        if metrics[key] is not None
    ]


def _classification_rows(metrics: dict[str, Any], words: CardWords) -> list[str]:
    table = metrics["calibration"]
    bins = len(table["count"])
    rows = [(words("accuracy"), _with_interval(metrics["accuracy"], words))]
    if "accuracy_when_sure" in metrics:
        rows += [
            (words("accuracy when not uncertain"), _with_interval(metrics["accuracy_when_sure"], words)),
            (words("share uncertain"), words.fixed(metrics["uncertain_share"], 4)),
        ]
    rows += [
        (words("macro F1"), words.fixed(metrics["macro_f1"], 4)),
        (words("log-loss (nats)"), words.fixed(metrics["log_loss"], 4)),
        *([("ROC AUC", words.fixed(metrics["roc_auc"], 4))] if "roc_auc" in metrics else []),
        (words("expected calibration error, {bins} bins", bins=bins), words.fixed(table["expected_error"], 4)),
        (words("temperature that would calibrate it (not applied)"), words.fixed(table["temperature"], 3)),
    ]
    return [f"| {name} | {value} |" for name, value in rows]


def _with_interval(figure: dict[str, Any], words: CardWords) -> str:
    if figure["value"] is None:
        return words("no rows")
    value, low, high = (words.fixed(figure[name], 4) for name in ("value", "low", "high"))
    template = "{value} (95 % interval {low} to {high}, {rows} rows)"
    return words(template, value=value, low=low, high=high, rows=words.whole(figure["rows"]))


def _per_class(metrics: dict[str, Any], words: CardWords) -> Iterator[str]:
    if "per_class" not in metrics:
        return
    headings = (words("label"), words("rows"), words("precision"), words("recall"), "F1")
    yield from ("", f"| {' | '.join(headings)} |", "|---|---|---|---|---|")
    for entry in metrics["per_class"][:_MAX_LABELS]:
        figures = " | ".join(words.fixed(entry[name], 3) for name in ("precision", "recall", "f1"))
        yield f"| {plain(entry['label'])} | {words.whole(entry['rows'])} | {figures} |"


def _parity(manifest: Manifest, words: CardWords) -> list[str]:
    parity, title = manifest.lineage.parity, f"## {words('Proof')}"
    smaller = _quantization(manifest.lineage.precision, words)
    if parity.reference == "none":
        template = "**NOT PROVED.** Nobody asked the original: whether this package answers as it did is not known."
        return [title, "", words(template), *smaller]
    rows = words.whole(parity.rows)
    if parity.samples == "user":
        samples = words("Of {rows} samples given by the user,", rows=rows)
    else:
        samples = words("Of {rows} samples generated from the signature,", rows=rows)
    largest, allowed = words.number(parity.largest_difference, 2), words.number(parity.tolerance, 2)
    return [
        title,
        "",
        f"{samples} {_reference_source(parity.reference, words)}",
        words("largest difference {largest} (allowed {allowed} of max(1, |score|)),", largest=largest, allowed=allowed),
        words("the same label for {share} %.", share=words.fixed(100 * parity.labels_agreeing, 2)),
        *smaller,
    ]


def _quantization(precision: Precision | None, words: CardWords) -> list[str]:
    """The loss by quantization; empty for a model that is not quantized."""
    if precision is None:
        return []
    largest, share = words.number(precision.largest_difference, 2), words.fixed(100 * precision.labels_agreeing, 2)
    lines = [
        "",
        words(
            "That was in single precision. It computes in **{numbers}**: of {rows} samples",
            numbers=precision.dtype,
            rows=words.whole(precision.rows),
        ),
        words("{share} % are answered alike, largest difference {largest};", share=share, largest=largest),
    ]
    if precision.metric:
        before, after = words.fixed(precision.before, 4), words.fixed(precision.after, 4)
        metric = words("accuracy") if precision.metric == "accuracy" else "R²"
        lines.append(words("{metric} {before} before, {after} now;", metric=metric, before=before, after=after))
    small, large = words.fixed(precision.bytes_after / 2**20, 1), words.fixed(precision.bytes_before / 2**20, 1)
    return [
        *lines,
        words("a loss of {most} was allowed;", most=words.number(precision.max_accuracy_drop)),
        words("{small} MiB in place of {large}.", small=small, large=large),
    ]


def _reference_source(reference: str, words: CardWords) -> str:
    """The source of the reference outputs."""
    if reference == "supplied":
        return words("the original's answers, which the user gave, are the same:")
    _, inside, library = reference.partition(" in ")
    if not inside:
        return words("the original model answered the same:")
    template = "the original model, read by {library} in an environment of its own time, answered the same:"
    return words(template, library=plain(library))


def _origin(manifest: Manifest, words: CardWords) -> list[str]:
    lineage = manifest.lineage
    tools = ", ".join(f"{name} {version}" for name, version in sorted(lineage.converter.items()))
    by = words("Converted to ONNX by {tools}", tools=plain(tools)) if tools else words("It was ONNX, and was not converted")
    facts = [words("Written by {library}", library=plain(lineage.framework)), by]
    if lineage.source_sha256:
        facts.append(words("Original file: SHA-256 `{digest}`", digest=lineage.source_sha256))
    if lineage.sandbox:
        facts.append(words("Opened in a {level} sandbox", level=plain(lineage.sandbox)))
    if lineage.training_data:
        facts.append(words("Training data: SHA-256 `{digest}`", digest=plain(lineage.training_data)))
    return [f"## {words('Origin')}", "", *(f"- {fact}" for fact in facts)]


def _limits(manifest: Manifest, metrics: dict[str, Any], words: CardWords, *, profiled: bool) -> list[str]:
    facts = [words("The figures hold for data like the held-out rows; for other data nothing was measured.")]
    facts += [_translated_warning(text, words) for text in metrics.get("warnings", ())]
    if profiled:
        facts.append(words("A drift profile of these rows is in `profile.npz`."))
    else:
        facts.append(words("No drift profile: it takes the truth of at least {least} held-out rows.", least=MIN_ROWS))
    if manifest.lineage.parity.labels_agreeing < 1.0:
        template = "Some samples got another label than from the original: their best two scores are equal but for rounding."
        facts.append(words(template))
    return [f"## {words('Limits')}", "", *(f"- {fact}" for fact in facts)]


def _translated_warning(text: str, words: CardWords) -> str:
    """A warning of `metrics.json` in the card's language; an unknown one stays English."""
    facts = facts_in(FEW_ROWS, text)
    if facts is None:
        return words("The figures were {warning}.", warning=plain(text))
    return words(
        "The figures were measured on {rows} rows; from {enough} on they are steady.", rows=facts["rows"], enough=RELIABLE_ROWS
    )
