"""One training: the user's train(run) on what is not held out, then a package measured on what is.

    examples ─ split ─► Run(train, validation) ─ train.py: train(run) ─► fitted model ─ pack(held out) ─► package

Pictures reach train(run) as the very numbers that the server will compute from them, so nothing can differ later.
"""

from __future__ import annotations

import hashlib
import runpy
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from relevo.converters.keras.silent_import import library, library_if_there
from relevo.converters.pack import pack
from relevo.domain.manifest import validate_options
from relevo.errors import ConfigError
from relevo.package.archive import check_output_path
from relevo.package.samples import png
from relevo.project.data import Example, load_examples, refuse_unfit
from relevo.project.holdout import held_out, place_of
from relevo.project.user_code import refuse_other_arguments, users_code
from relevo.runtime.image import OWN_FILES, decode, tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from relevo.domain.preprocessing import ImageSteps
    from relevo.domain.signature import ImageInput
    from relevo.package.package import Package
    from relevo.project.config import Project
    from relevo.project.image_folder import Unreadable

#: Told (done, total, what); a total of 0 when nobody knows.
Step = "Callable[[int, int, str], object]"
_SEED = 20_250_101
#: Fewer held-out examples measure nothing.
_LEAST_HELD_OUT = 10


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Examples:
    """One side of the split."""

    x: Any  # pictures: float64 (n, h·w·c), or float32 in the [input] layout; tables: list of dicts; .npz rows: array (n, features)
    y: list[Any]  # one truth a row


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Run:
    """What train(run) is given; lives as long as one training."""

    train: Examples
    validation: Examples  # the held-out part: to watch, never to learn from
    seed: int
    step: Callable[[int, int, str], object] = field(repr=False)
    #: What `progress` was told, one an epoch; becomes the package's learning curves.
    learning: list[dict[str, float]] = field(default_factory=list, repr=False)
    #: PNG by file name; becomes part of the package's figures.
    drawings: dict[str, bytes] = field(default_factory=dict, repr=False)

    def progress(self, epoch: int, total: int = 0, **figures: float) -> None:
        """Tell how far the training is, with any figures (loss=…, validation_loss=…); they become the learning curves."""
        if figures:
            self.learning.append({"epoch": epoch} | {name: round(float(value), 6) for name, value in figures.items()})
        told = " ".join(f"{name} {value:.4g}" for name, value in figures.items())
        self.step(epoch, total, f"training {told}".rstrip())

    def for_keras(self) -> Any:
        """A callback that tells every epoch with its figures: model.fit(…, verbose=0, callbacks=[run.for_keras()])."""
        callbacks = library("keras").callbacks
        told = callbacks.LambdaCallback()

        def tell(epoch: int, figures: dict[str, Any] | None = None) -> None:
            self.progress(
                epoch + 1, int(told.params.get("epochs") or 0), **{name: float(one) for name, one in (figures or {}).items()}
            )

        told.on_epoch_end = tell
        return told


def train_project(
    project: Project,
    out: Path,
    step: Callable[[int, int, str], object],
    *,
    most: int | None = None,
    language: str | None = None,
    tell: Callable[[Unreadable], object] = lambda _: None,
) -> Package:
    """Train and pack to `out`. Raises ConfigError, TrainingError, and what packing raises; PackageError for `out` at once.

    most: learn from at most so many examples; those of a smaller number are among those of a larger, and all held out stay so.
    language: of the card and its figures, as in `relevo.pack`.
    tell: is given each picture that cannot be read and was left out.
    """
    check_output_path(out)
    images = project.image()
    validate_options(name=project.model.name, decision=project.rule(), answer=project.answer, synonyms=project.model.synonyms)
    step(0, 1, "loading data")
    examples = load_examples(project, tell)
    refuse_unfit(examples, project)
    learn, held = split_examples(examples, project.data.held_out)
    learn = first_of(learn, most)
    step(1, 1, "loading data")
    run = Run(train=_side(learn, images), validation=_side(held, images), seed=_SEED, step=step)
    with users_code(project.folder):
        model = _train_function(project.folder)(run)
    if model is None:
        raise ConfigError(reason="train(run) in train.py returned nothing; let it return the fitted model")
    # What train(run) was given came in this order, whether the model remembers it or not.
    told: dict[str, Any] = {"features": list(held[0].x)} if isinstance(held[0].x, dict) else {}
    if images is not None:
        told = {"input": images[0], "steps": images[1]}
    return pack(
        model,
        name=project.model.name,
        samples=_samples(held, pictures=images is not None),
        truth=[one.y for one in held],
        labels=project.model.labels or None,
        classes=_classes(learn + held, named=bool(project.model.labels)),
        description=project.model.description,
        decision=project.rule(),
        answer=project.answer,
        synonyms=project.model.synonyms,
        unknown_fields=project.input.unknown_fields,
        missing_fields=project.input.missing_fields,
        training_data=fingerprint(learn),
        learning=run.learning,
        drawings=run.drawings,
        out=out,
        language=language,
        progress=step,
        **told,
    )


def split_examples(examples: Sequence[Example], share: float) -> tuple[list[Example], list[Example]]:
    """Those to learn from and those held out. Raises ConfigError when a side is too small to be of use."""
    held = [one for one in examples if _is_held(one, share)]
    learn = [one for one in examples if not _is_held(one, share)]
    if not learn or len(held) < _LEAST_HELD_OUT:
        raise ConfigError(
            reason=f"of {len(examples)} examples {len(held)} would be held out; at least {_LEAST_HELD_OUT} are needed "
            "(more data, or a larger [data] held_out)"
        )
    return learn, held


def first_of(examples: Sequence[Example], most: int | None) -> list[Example]:
    """At most so many of them, in their order; which ones, a hash of each decides, as it decides the split."""
    if most is None or len(examples) <= most:
        return list(examples)
    lots = sorted(range(len(examples)), key=lambda place: place_of(examples[place].identity))
    return [examples[place] for place in sorted(lots[:most])]


def _is_held(one: Example, share: float) -> bool:
    return held_out(one.group or one.identity, share) if one.held is None else one.held


def fingerprint(examples: Sequence[Example]) -> str:
    """SHA-256 over the training data, whatever its order."""
    each = sorted(hashlib.sha256(one.identity + b"\0" + str(one.y).encode()).digest() for one in examples)
    return hashlib.sha256(b"".join(each)).hexdigest()


def _side(examples: list[Example], images: tuple[ImageInput, ImageSteps] | None) -> Examples:
    y = [one.y for one in examples]
    if images is not None:
        return Examples(x=_tensor(examples, *images), y=y)
    first = examples[0].x
    return Examples(x=np.stack([one.x for one in examples]) if isinstance(first, np.ndarray) else [one.x for one in examples], y=y)


def _tensor(examples: list[Example], wanted: ImageInput, steps: ImageSteps) -> NDArray[Any]:
    exact = msgspec.structs.replace(steps, dtype="float64" if steps.layout == "flat" else "float32")
    return tensor([decode(_file(one.x), wanted, steps, OWN_FILES) for one in examples], exact)


def _file(x: Any) -> bytes:
    return x if isinstance(x, bytes) else png(np.asarray(x, dtype=np.uint8))


def _samples(held: list[Example], *, pictures: bool) -> Any:
    if pictures:
        return [_file(one.x) for one in held]
    first = held[0].x
    return np.stack([one.x for one in held]) if isinstance(first, np.ndarray) else [one.x for one in held]


def _classes(examples: Sequence[Example], *, named: bool) -> list[Any] | None:
    """The classes in their sorted order, for a model that only counts them; None where the truth may be a plain number.

    named: the project names labels, so that numbers are classes too.
    """
    found = {one.y for one in examples}
    texts = all(isinstance(one, str) for one in found)
    return sorted(found) if texts or named else None


def _train_function(folder: Path) -> Callable[[Run], Any]:
    path = folder / "train.py"
    if not path.is_file():
        raise ConfigError(reason=f"the project has no train.py (looked in {folder})")
    if any(word in path.read_text(encoding="utf-8") for word in ("keras", "tensorflow")):
        # Loaded by us it is silent.
        library_if_there("keras")
    # Modules that lie beside train.py can be imported by it.
    sys.path.insert(0, str(folder.resolve()))
    train = runpy.run_path(str(path)).get("train")
    if not callable(train):
        raise ConfigError(reason="train.py has no function train(run)")
    refuse_other_arguments(train, "train(run)", path.name)
    return train  # type: ignore[no-any-return]  # the user's function, known by its name
