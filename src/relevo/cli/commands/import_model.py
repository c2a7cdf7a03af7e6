"""`relevo import`: converts a model file to a package and registers it as the next version of a model."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from relevo.cli.help import usage_error
from relevo.cli.options import AsJson, Home, current_user, load_command_settings
from relevo.cli.output import progress, say, show_json
from relevo.cli.package_summary import Alias, Force, Out, Register, Why, reason, summary
from relevo.cli.translate import language

if TYPE_CHECKING:
    from collections.abc import Callable

    from relevo.converters.limits import Bounds
    from relevo.domain.decision import Decision
    from relevo.package.package import Package

_SIZE = re.compile(r"(\d{1,4})[x×](\d{1,4})")


def register(app: typer.Typer) -> None:
    """Adds the command of this module."""
    app.command("import")(import_file)


def import_file(
    file: Annotated[Path, typer.Argument(help="A model file, a SavedModel's folder, or a package.", metavar="FILE")],
    *,
    name: Annotated[
        str | None, typer.Option("--name", help="The model's name here; a package has one already.", metavar="NAME")
    ] = None,
    samples: Annotated[
        str | None,
        typer.Option(
            "--samples", help="Held-out inputs: .json, .jsonl, .csv, .npy, .npz, or a folder of pictures.", metavar="PATH"
        ),
    ] = None,
    truth: Annotated[
        str | None, typer.Option("--truth", help="Their truth: a column of the samples, or a file.", metavar="COLUMN|PATH")
    ] = None,
    trust_pickle: Annotated[
        bool, typer.Option("--trust-pickle", help="You trust the pickle's author; it is loaded in a sandbox, never in the server.")
    ] = False,
    accept_weak: Annotated[
        bool, typer.Option("--accept-weak-quarantine", help="Open it although this system's sandbox is not strong.")
    ] = False,
    vectorizer: Annotated[
        Path | None,
        typer.Option("--vectorizer", help="A second pickle with the DictVectorizer, where it was saved apart.", metavar="FILE"),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option("--weights", help="The HDF5 file of weights that goes with a Keras architecture in JSON.", metavar="FILE"),
    ] = None,
    labels: Annotated[
        str | None, typer.Option("--labels", help="Names in the order of the model's classes: no,yes", metavar="A,B,…")
    ] = None,
    renamed: Annotated[
        str | None,
        typer.Option(
            "--rename-labels", help="Other names for classes that have names: old=viejo,young=joven", metavar="CLASS=NAME,…"
        ),
    ] = None,
    features: Annotated[str | None, typer.Option("--features", help="Names of a matrix' columns.", metavar="A,B,…")] = None,
    kind: Annotated[str | None, typer.Option("--kind", help="What goes in.", metavar="record|image")] = None,
    size: Annotated[str | None, typer.Option("--size", help="Pixels an image is brought to.", metavar="WIDTHxHEIGHT")] = None,
    mode: Annotated[
        str | None, typer.Option("--mode", help="Grey or colour, and the order of the colours.", metavar="L|RGB|BGR")
    ] = None,
    layout: Annotated[
        str | None, typer.Option("--layout", help="Order of an image tensor's axes.", metavar="NHWC|NCHW|NHW|flat")
    ] = None,
    scale: Annotated[
        float | None,
        typer.Option("--scale", help="Factor from a pixel's 0..255 to what the model was trained on.", metavar="NUMBER"),
    ] = None,
    preprocess: Annotated[
        str | None,
        typer.Option("--preprocess", help="The same by name: 01, tf, caffe, torch, raw, vgg19, mobilenet_v2, …", metavar="NAME"),
    ] = None,
    orientation: Annotated[
        str | None,
        typer.Option(
            "--orientation", help="Turn pictures as their camera says, or take the pixels as stored.", metavar="exif|ignore"
        ),
    ] = None,
    background: Annotated[
        str | None,
        typer.Option(
            "--background",
            help="Behind transparent pixels: a colour, or ignore to drop transparency; white when left out.",
            metavar="white|black|#rrggbb|ignore",
        ),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option("--output", help="Which output of an ONNX file has the scores; of a booster: margin.", metavar="NAME"),
    ] = None,
    rounds: Annotated[
        int, typer.Option("--rounds", min=0, help="Of a booster, only the first so many rounds; 0 for all.", metavar="NUMBER")
    ] = 0,
    scores: Annotated[
        str | None,
        typer.Option(
            "--scores",
            help="What the model's scores are, where the file leaves a doubt.",
            metavar="logits|probabilities|percent|numbers",
        ),
    ] = None,
    releases: Annotated[
        list[str] | None,
        typer.Option(
            "--with",
            help="What wrote the pickle; installed in a throw-away environment, where the original answers. Again for more.",
            metavar="NAME==VERSION",
        ),
    ] = None,
    python: Annotated[
        str | None, typer.Option("--python", help="The Python for --with, where this one is too new for it.", metavar="PATH|NAME")
    ] = None,
    outputs: Annotated[
        Path | None,
        typer.Option("--outputs", help="The original's own scores for the samples: .npy, .json, .csv, .txt.", metavar="FILE"),
    ] = None,
    max_seconds: Annotated[
        int | None,
        typer.Option("--max-seconds", min=1, help="Processor time the sandbox may use for it, in seconds.", metavar="NUMBER"),
    ] = None,
    max_memory: Annotated[
        int | None, typer.Option("--max-memory", min=64, help="Memory the sandbox may use for it, in MiB.", metavar="NUMBER")
    ] = None,
    unit: Annotated[str, typer.Option("--unit", help="Unit of a regression's value.", metavar="TEXT")] = "",
    accept: Annotated[
        float | None, typer.Option("--accept", help="At or above: the second label. Between reject and accept: uncertain.")
    ] = None,
    reject: Annotated[float | None, typer.Option("--reject", help="At or below: the first label.")] = None,
    least: Annotated[float | None, typer.Option("--least", help="Below this probability the answer is uncertain.")] = None,
    answer: Annotated[
        list[str] | None,
        typer.Option(
            "--answer",
            help="A field more in each answer, for old clients: churn=is:yes, p=probability:yes; again for each.",
            metavar="NAME=FACT",
        ),
    ] = None,
    synonyms: Annotated[
        list[str] | None,
        typer.Option(
            "--synonym",
            help="A name by which old clients ask for it; the file's own when left out. Again for more.",
            metavar="NAME",
        ),
    ] = None,
    unknown_fields: Annotated[
        str | None,
        typer.Option("--unknown-fields", help="What becomes of a field that the model does not know.", metavar="refuse|ignore"),
    ] = None,
    missing_fields: Annotated[
        str | None,
        typer.Option(
            "--missing-fields", help="What becomes of a required field that is missing, null or true/false.", metavar="refuse|zero"
        ),
    ] = None,
    tolerance: Annotated[
        float | None, typer.Option("--tolerance", help="Largest difference to the original allowed, in units of max(1, |score|).")
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option("--precision", help="Smaller numbers for a heavy network, judged on the samples.", metavar="float16|int8"),
    ] = None,
    max_loss: Annotated[
        float | None,
        typer.Option("--max-loss", help="Share of samples that may be answered otherwise then, and of accuracy: 0.01."),
    ] = None,
    description: Annotated[str, typer.Option("--description", help="What the model is for.", metavar="TEXT")] = "",
    figures: Annotated[bool, typer.Option("--figures/--no-figures", help="Draw the figures of the model card.")] = True,
    out: Out = None,
    register: Register = True,
    alias: Alias = "champion",
    why: Why = "imported",
    force: Force = False,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Convert a model file and register it; a package is registered as it is.

    A model file is opened in a sandbox, and the package is proved to answer as the original does.
    """
    options: dict[str, Any] = {
        "samples": samples,
        "truth": truth,
        "trust_pickle": trust_pickle,
        "accept_weak": accept_weak,
        "vectorizer": vectorizer,
        "weights": weights,
        "labels": _label_names(labels, renamed),
        "features": _split(features),
        "kind": _choice("--kind", kind, "record", "image"),
        "size": _size(size),
        "mode": _choice("--mode", mode, "L", "RGB", "BGR"),
        "layout": _choice("--layout", layout, "NHWC", "NCHW", "NHW", "flat"),
        "scale": scale,
        "preprocess": preprocess,
        "orientation": _choice("--orientation", orientation, "exif", "ignore"),
        "background": background,
        "output": output,
        "rounds": rounds,
        "scores": _choice("--scores", scores, "logits", "probabilities", "percent", "numbers"),
        "releases": tuple(releases or ()),
        "python": python,
        "outputs": outputs,
        "unit": unit,
        "bounds": _bounds(max_seconds, max_memory),
        "decision": _decision(accept, reject, least),
        "answer": _extra_fields(answer),
        "synonyms": tuple(synonyms or ()),
        "unknown_fields": _choice("--unknown-fields", unknown_fields, "refuse", "ignore"),
        "missing_fields": _choice("--missing-fields", missing_fields, "refuse", "zero"),
        "tolerance": tolerance,
        **({} if precision is None else {"precision": _choice("--precision", precision, "float32", "float16", "int8")}),
        **({} if max_loss is None else {"max_loss": max_loss}),
        "description": description,
        "figures": figures,
    }
    from relevo import server
    from relevo.domain.manifest import synonym_of
    from relevo.importing.sniff import refuse_missing
    from relevo.package.archive import is_package

    refuse_missing(file)
    settings, start = load_command_settings(home), server.utc_now()
    recorded_reason = reason(why, "imported", force=force)
    if register:
        server.check_home(settings)
    with TemporaryDirectory(prefix="relevo-import-") as folder, progress(quiet=as_json) as step:
        extra_synonyms: tuple[str, ...] = ()
        if is_package(file):
            package_path, package = file, _open_package(file, name, options, out)
        else:
            package_path = out or Path(folder) / "package"
            package = _convert(file, name, options, package_path, step)
            # Old services named a model by its file: clients that request clf.pickle keep working.
            extra_synonyms = synonym_of(file.name, package.manifest.name) if synonyms is None else ()
        version = champion = None
        if register:
            version = server.register(
                settings,
                package_path,
                alias=alias,
                author=current_user(),
                reason=recorded_reason,
                force=force,
                synonyms=extra_synonyms,
            )
            champion = server.champion_of(settings, version.model)
    if as_json:
        facts = {"digest": package.digest, "output": package.manifest.output, "metrics": package.metrics}
        show_json({**facts, "lineage": package.manifest.lineage, "version": version})
    else:
        say(summary(package, version, alias, began=start, champion=champion, imported=True, ordered=features is not None))


def _convert(file: Path, name: str | None, options: dict[str, Any], target: Path, step: Callable[[int, int, str], None]) -> Package:
    from relevo.importing.import_model import import_model

    if name is None:
        raise usage_error("The option --name is missing: what the model is to be called here.")
    return import_model(file, name=name, out=target, language=language(), progress=step, **options)


def _open_package(file: Path, name: str | None, options: dict[str, Any], out: Path | None) -> Package:
    """Opens a finished package. Raises ImportModelError when options would change it, PackageError when it is invalid."""
    from relevo.errors import ImportModelError
    from relevo.package.package import open_package

    package = open_package(file)
    if name not in (None, package.manifest.name):
        raise ImportModelError(reason=f"it is a package of the model {package.manifest.name}, and a package keeps its name")
    set_options = sorted(flag for flag, value in options.items() if value not in (None, False, "", (), True))
    if set_options:
        raise ImportModelError(reason=f"it is a package, in which everything is settled; leave out {', '.join(set_options)}")
    if out is not None:
        package.write(out)
    return package


def _split(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(part.strip() for part in text.split(","))


def _label_names(labels: str | None, renamed: str | None) -> tuple[str, ...] | dict[str, str] | None:
    if renamed is None:
        return _split(labels)
    pairs = [part.partition("=") for part in renamed.split(",")]
    if labels is not None or not all(equals and new.strip() for _, equals, new in pairs):
        raise typer.BadParameter("must look like old=viejo,young=joven, and goes without --labels", param_hint="--rename-labels")
    return {old.strip(): new.strip() for old, _, new in pairs}


def _choice(flag: str, value: str | None, *choices: str) -> str | None:
    if value is not None and value not in choices:
        raise typer.BadParameter(f"must be one of {', '.join(choices)}", param_hint=flag)
    return value


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    match = _SIZE.fullmatch(text)
    if match is None:
        raise typer.BadParameter("must look like 28x28", param_hint="--size")
    return int(match[1]), int(match[2])


def _extra_fields(texts: list[str] | None) -> dict[str, str] | None:
    if not texts:
        return None
    pairs = [text.partition("=") for text in texts]
    if not all(equals for _, equals, _ in pairs):
        raise typer.BadParameter("must look like churn=is:yes", param_hint="--answer")
    return {name: value for name, _, value in pairs}


def _bounds(seconds: int | None, memory: int | None) -> Bounds | None:
    """Resource limits of the sandbox; None: limits by the size of the file."""
    from relevo.converters.limits import Bounds

    if seconds is None and memory is None:
        return None
    defaults = Bounds()
    # On a busy machine a process gets only a part of the CPU time.
    wall_seconds = defaults.wall_seconds if seconds is None else max(defaults.wall_seconds, 4.0 * seconds)
    return replace(
        defaults, cpu_seconds=seconds or defaults.cpu_seconds, data_mb=memory or defaults.data_mb, wall_seconds=wall_seconds
    )


def _decision(accept: float | None, reject: float | None, least: float | None) -> Decision | None:
    from relevo.domain.decision import ArgmaxDecision, ThresholdDecision

    if accept is None and reject is None:
        return None if least is None else ArgmaxDecision(min_confidence=least)
    if accept is None or reject is None or least is not None:
        raise usage_error("--accept and --reject go together, and not with --least.")
    return ThresholdDecision(accept_at=accept, reject_at=reject)
