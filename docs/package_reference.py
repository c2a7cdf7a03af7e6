"""Generates the page of the package format from the structures that read and write it.

    structures of domain ─ their fields, types, defaults ─┐
    comments of the fields (`#:` above, `#` behind) ──────┴─► one table per structure ─► lines of package-format.md
    package/layout.py ─► the limits

A field without a comment is an error.
"""

from __future__ import annotations

import enum
import inspect
import re
import textwrap
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from relevo.domain import decision, manifest, preprocessing, signature
from relevo.package import layout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Structure and its place in manifest.json.
STRUCTURES: tuple[tuple[type[msgspec.Struct], str], ...] = (
    (manifest.Manifest, "manifest.json"),
    (signature.ImageInput, "input"),
    (signature.RecordInput, "input"),
    (signature.Field, "input.fields[]"),
    (preprocessing.ImageSteps, "steps"),
    (preprocessing.MatrixSteps, "steps"),
    (preprocessing.Column, "steps.columns[]"),
    (preprocessing.ColumnSteps, "steps"),
    (preprocessing.ColumnInput, "steps.columns[]"),
    (signature.Output, "output"),
    (decision.ArgmaxDecision, "decision"),
    (decision.ThresholdDecision, "decision"),
    (manifest.Calibration, "calibration"),
    (manifest.Lineage, "lineage"),
    (manifest.Parity, "lineage.parity"),
    (manifest.Precision, "lineage.precision"),
)
#: Path in a package and its content.
FILES = (
    (layout.MANIFEST, "what the package is, and the SHA-256 of every other file; canonical JSON (sorted keys, two spaces)"),
    (layout.SEAL, "the SHA-256 of the manifest, as `sha256sum` writes it, so that a changed manifest is noticed too"),
    (layout.MODEL, "the model: one ONNX file, no external data, known operators only"),
    ("golden/golden.json, golden/scores.npy, golden/*", "raw inputs, and the scores and answers the original gave"),
    (layout.PROFILE, "distributions of inputs and outputs on held-out data, for comparison later"),
    (layout.METRICS, "how it did on held-out data"),
    ("figures/*.png", "confusion matrix, calibration, ROC, learning curves: where they were drawn"),
    (layout.CARD, "all of it in words"),
)
_WORDS = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}


def lines(say: Callable[[str], str]) -> list[str]:
    """The lines of the page, translated by `say`."""
    return [*_head(say), *_tables(say), *_bounds(say)]


def _head(say: Callable[[str], str]) -> Iterator[str]:
    yield f"# {say('Package format')} {manifest.FORMAT}"
    yield ""
    yield say("A package is a folder, or a `.zip` of one. What is in it never changes: the SHA-256 of `manifest.json` is its name.")
    yield say("A file too many, too few or changed by a byte is refused with a sentence that says which.")
    yield say(
        "Nothing in it tells a time or a path, so packing the same model with the same data twice, in one language, "
        "gives the same package."
    )
    yield say("An import's file name, by which old clients may ask for it, is kept by the registry and is no part of the package.")
    yield ""
    yield f"| {say('file')} | {say('what it holds')} |"
    yield "|---|---|"
    for path, holds in FILES:
        yield f"| {', '.join(f'`{one}`' for one in path.split(', '))} | {say(holds)} |"
    yield ""
    yield say("Unknown keys are refused. A key that is left out has its default.")
    yield say(
        "How the format may change, and how older packages stay readable, stands at the top of `src/relevo/domain/manifest.py`."
    )


def _tables(say: Callable[[str], str]) -> Iterator[str]:
    for kind, place in STRUCTURES:
        tag = msgspec.inspect.type_info(kind)
        named = f" · `type` = `{tag.tag}`" if isinstance(tag, msgspec.inspect.StructType) and tag.tag is not None else ""
        yield from ("", f"## `{place}`{named}", "", say(" ".join((kind.__doc__ or "").split("\n\n")[0].split())), "")
        yield f"| {say('key')} | {say('expects')} | {say('default')} | {say('meaning')} |"
        yield "|---|---|---|---|"
        told, types = comments(kind), get_type_hints(kind)
        for field in msgspec.structs.fields(kind):
            default = say("needed") if field.required else _shown(field)
            yield f"| `{field.name}` | {_expected(types[field.name], say)} | {default} | {say(told[field.name])} |"


def _bounds(say: Callable[[str], str]) -> Iterator[str]:
    mib = 1024**2
    yield from ("", f"## {say('Bounds')}", "", f"| {say('what')} | {say('at most')} |", "|---|---|")
    yield f"| {say('files')} | {layout.MAX_FILES} |"
    yield f"| {say('bytes of all files together')} | {layout.MAX_BYTES // mib} MiB |"
    yield f"| {say('bytes of the manifest')} | {layout.MAX_MANIFEST_BYTES // mib} MiB |"
    yield f"| {say('growth of an archive when it is unpacked')} | × {layout.MAX_RATIO} |"


def comments(kind: type) -> dict[str, str]:
    """Field → its comment in the code. Raises ValueError for a field without one."""
    found: dict[str, str] = {}
    above: list[str] = []
    for line in textwrap.dedent(inspect.getsource(kind)).splitlines():
        text = line.strip()
        field = re.match(r"(\w+): [^#]*(?:# (?P<behind>.*))?$", text)
        if text.startswith("#: "):
            above.append(text.removeprefix("#: "))
        elif field and line.startswith("    ") and (above or field["behind"]):
            found[field[1]] = " ".join(above) or str(field["behind"])
        if not text.startswith("#: "):
            above = []
    silent = [one.name for one in msgspec.structs.fields(kind) if one.name not in found]
    if silent:
        raise ValueError(f"no comment says what {kind.__name__}.{silent[0]} is")
    return found


def _shown(field: msgspec.structs.FieldInfo) -> str:
    if field.default_factory is not msgspec.NODEFAULT:
        return "–"
    value = field.default.value if isinstance(field.default, enum.Enum) else field.default
    if value is None or value in ((), ""):
        return "–"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _expected(kind: Any, say: Callable[[str], str]) -> str:
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Literal:
        return ", ".join(f"`{one}`" for one in inner)
    if origin in (Union, UnionType):
        parts = [_expected(one, say) for one in inner if one is not NoneType]
        return f" {say('or')} ".join(dict.fromkeys(parts))
    if origin is tuple:
        return f"{say('a list')}: {_expected(inner[0], say)}"
    if origin is dict:
        return f"{say('an object')}: {say('name')} → {_expected(inner[1], say)}"
    if inspect.isclass(kind) and issubclass(kind, enum.Enum):
        return ", ".join(f"`{one.value}`" for one in kind)
    return say(_WORDS.get(kind, "an object"))
