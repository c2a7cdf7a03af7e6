"""`relevo import`: converts a model file to a package and registers it as the next version of a model."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import typer

from relevo.cli.help import usage_error
from relevo.cli.options import AsJson, Home, current_user, load_command_settings, with_flags
from relevo.cli.output import progress, say, show_json
from relevo.cli.package_summary import Alias, Force, Out, Register, Why, reason, summary
from relevo.cli.translate import language
from relevo.package.conversion import ConversionOptions

if TYPE_CHECKING:
    from collections.abc import Callable
    from dataclasses import Field

    from relevo.converters.limits import Bounds
    from relevo.package.package import Package

#: The options with a flag, by name, and their types.
_FIELDS = {field.name: field for field in fields(ConversionOptions) if field.metadata.get("help")}
_TYPES = get_type_hints(ConversionOptions)
_RENAME_LABELS = "must look like old=viejo,young=joven, and goes without --labels"
_SIZE = re.compile(r"(\d{1,4})[x×](\d{1,4})")


def register(app: typer.Typer) -> None:
    """Adds the command of this module."""
    app.command("import")(with_flags(import_file, "options", [_flag(field) for field in _FIELDS.values()], _read_flags))


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
    allow_weak_sandbox: Annotated[
        bool, typer.Option("--allow-weak-sandbox", help="Open it although this system's sandbox is not strong.")
    ] = False,
    vectorizer: Annotated[
        Path | None,
        typer.Option("--vectorizer", help="A second pickle with the DictVectorizer, where it was saved apart.", metavar="FILE"),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option("--weights", help="The HDF5 file of weights that goes with a Keras architecture in JSON.", metavar="FILE"),
    ] = None,
    options: dict[str, Any],
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
    reference_outputs: Annotated[
        Path | None,
        typer.Option(
            "--reference-outputs", help="The original's own scores for the samples: .npy, .json, .csv, .txt.", metavar="FILE"
        ),
    ] = None,
    max_seconds: Annotated[
        int | None,
        typer.Option("--max-seconds", min=1, help="Processor time the sandbox may use for it, in seconds.", metavar="NUMBER"),
    ] = None,
    max_memory: Annotated[
        int | None, typer.Option("--max-memory", min=64, help="Memory the sandbox may use for it, in MiB.", metavar="NUMBER")
    ] = None,
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
    arguments: dict[str, Any] = {
        "samples": samples,
        "truth": truth,
        "trust_pickle": trust_pickle,
        "allow_weak_sandbox": allow_weak_sandbox,
        "vectorizer": vectorizer,
        "weights": weights,
        "releases": tuple(releases or ()),
        "python": python,
        "reference_outputs": reference_outputs,
        "bounds": _bounds(max_seconds, max_memory),
        **options,
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
            package_path, package = file, _open_package(file, name, arguments, out)
        else:
            package_path = out or Path(folder) / "package"
            package = _convert(file, name, arguments, package_path, step)
            # Old services named a model by its file: clients that request clf.pickle keep working.
            extra_synonyms = synonym_of(file.name, package.manifest.name) if "synonyms" not in options else ()
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
        say(summary(package, version, alias, began=start, champion=champion, imported=True, ordered="features" in options))


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


def _flag(field: Field[Any]) -> inspect.Parameter:
    """The flag of an option."""
    about = field.metadata
    plain: Any = next((kind for kind in (bool, int, float) if kind in _alternatives(field)), str)
    default = field.default if plain in (bool, int) else None
    option = typer.Option(
        _flag_name(field),
        help=about["help"],
        metavar=about["metavar"] or "|".join(_choices(field)) or None,
        min=about.get("minimum"),
    )
    kind: Any = plain if default is not None else (list[str] | None) if about.get("repeat") else plain | None
    return inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, option])


def _flag_name(field: Field[Any]) -> str:
    return field.metadata["flag"] or f"--{field.name.replace('_', '-')}"


def _alternatives(field: Field[Any]) -> tuple[Any, ...]:
    kind = _TYPES[field.name]
    return get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)


def _choices(field: Field[Any]) -> tuple[str, ...]:
    return next((get_args(kind) for kind in _alternatives(field) if get_origin(kind) is Literal), ())


def _read_flags(flags: dict[str, Any]) -> dict[str, Any]:
    """The options that were given, as `import_model` takes them. Raises BadParameter."""
    if flags["labels"] is not None and flags["renamed"] is not None:
        raise typer.BadParameter(_RENAME_LABELS, param_hint="--rename-labels")
    given = {name: value for name, value in flags.items() if value != _FIELDS[name].default and value not in (None, [])}
    return {name: _parse(_FIELDS[name], value) for name, value in given.items()}


def _parse(field: Field[Any], value: Any) -> Any:
    """The value of a flag, which Typer gives as a number, a text or a list of texts. Raises BadParameter."""
    flag, choices, kinds = _flag_name(field), _choices(field), [get_origin(kind) or kind for kind in _alternatives(field)]
    if choices and value not in choices:
        raise typer.BadParameter(f"must be one of {', '.join(choices)}", param_hint=flag)
    if field.name == "size":
        if (match := _SIZE.fullmatch(value)) is None:
            raise typer.BadParameter("must look like 28x28", param_hint=flag)
        return int(match[1]), int(match[2])
    if Mapping in kinds:
        pairs = [text.partition("=") for text in (value if isinstance(value, list) else value.split(","))]
        if not all(equals and new.strip() for _, equals, new in pairs):
            expected = "must look like churn=is:yes" if field.metadata.get("repeat") else _RENAME_LABELS
            raise typer.BadParameter(expected, param_hint=flag)
        return {name.strip(): new.strip() for name, _, new in pairs}
    if tuple in kinds and isinstance(value, str):
        return tuple(part.strip() for part in value.split(","))
    return value


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
