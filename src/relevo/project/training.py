"""One training: runs the user's train(run) on the training examples, then packs the model with metrics of the held-out ones.

    examples ─ split ─► Run(train, validation) ─ train.py: train(run) ─► fitted model ─ pack(held out) ─► package

train(run) gets images as the same numbers that the server computes from them, so training and serving cannot differ.
"""

from __future__ import annotations

import hashlib
import runpy
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from relevo.converters.keras.silent_import import library, try_import
from relevo.converters.pack import pack
from relevo.domain.manifest import validate_options
from relevo.errors import ConfigError
from relevo.package.archive import check_output_path
from relevo.package.samples import png
from relevo.project.data import Example, check_examples, load_examples
from relevo.project.holdout import hash_position, held_out
from relevo.project.user_code import check_signature, run_user_code
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

#: Called with (done, total, text); total is 0 when unknown.
Step = "Callable[[int, int, str], object]"
_SEED = 20_250_101
#: Fewer held-out examples give no meaningful metric.
_MIN_HELD_OUT = 10


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Examples:
    """One side of the split."""

    x: Any  # images: float64 (n, h·w·c), or float32 in the [input] layout; tables: list of dicts; .npz rows: array (n, features)
    y: list[Any]  # one truth an example


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Run:
    """The argument of train(run). Lifetime: one training."""

    train: Examples
    validation: Examples  # the held-out part: for monitoring, never for training
    seed: int
    step: Callable[[int, int, str], object] = field(repr=False)
    #: The metrics passed to `progress`, one an epoch; they become the package's learning curves.
    training_curves: list[dict[str, float]] = field(default_factory=list, repr=False)
    #: PNG by file name; becomes part of the package's figures.
    extra_figures: dict[str, bytes] = field(default_factory=dict, repr=False)

    def progress(self, epoch: int, total: int = 0, **figures: float) -> None:
        """Report the progress of the training, with any metrics (loss=…, validation_loss=…); they become the learning curves."""
        if figures:
            self.training_curves.append({"epoch": epoch} | {name: round(float(value), 6) for name, value in figures.items()})
        text = " ".join(f"{name} {value:.4g}" for name, value in figures.items())
        self.step(epoch, total, f"training {text}".rstrip())

    def for_keras(self) -> Any:
        """Return a callback that reports every epoch with its metrics: model.fit(…, verbose=0, callbacks=[run.for_keras()])."""
        callbacks = library("keras").callbacks
        callback = callbacks.LambdaCallback()

        def report(epoch: int, figures: dict[str, Any] | None = None) -> None:
            self.progress(
                epoch + 1,
                int(callback.params.get("epochs") or 0),
                **{name: float(value) for name, value in (figures or {}).items()},
            )

        callback.on_epoch_end = report
        return callback


def train_project(
    project: Project,
    out: Path,
    step: Callable[[int, int, str], object],
    *,
    max_examples: int | None = None,
    language: str | None = None,
    tell: Callable[[Unreadable], object] = lambda _: None,
) -> Package:
    """Train and pack to `out`. Raises ConfigError, TrainingError, and what packing raises; PackageError for `out` at once.

    max_examples: maximum number of training examples; a smaller subset lies within a larger one, and the held-out ones stay the same.
    language: of the card and its figures, as in `relevo.pack`.
    tell: called with each image that cannot be read and was skipped.
    """
    check_output_path(out)
    images = project.image()
    validate_options(name=project.model.name, decision=project.rule(), answer=project.answer, synonyms=project.model.synonyms)
    step(0, 1, "loading data")
    examples = load_examples(project, tell)
    check_examples(examples, project)
    training, held = split_examples(examples, project.data.held_out)
    training = limit_examples(training, max_examples)
    step(1, 1, "loading data")
    run = Run(train=_to_examples(training, images), validation=_to_examples(held, images), seed=_SEED, step=step)
    with run_user_code(project.folder):
        model = _train_function(project.folder)(run)
    if model is None:
        raise ConfigError(reason="train(run) in train.py returned nothing; let it return the fitted model")
    # The column order of the data that train(run) got, in case the model does not store it.
    options: dict[str, Any] = {"features": list(held[0].x)} if isinstance(held[0].x, dict) else {}
    if images is not None:
        options = {"input": images[0], "steps": images[1]}
    return pack(
        model,
        name=project.model.name,
        samples=_samples(held, images=images is not None),
        truth=[example.y for example in held],
        labels=project.model.labels or None,
        classes=_classes(training + held, named=bool(project.model.labels)),
        description=project.model.description,
        decision=project.rule(),
        answer=project.answer,
        synonyms=project.model.synonyms,
        unknown_fields=project.input.unknown_fields,
        missing_fields=project.input.missing_fields,
        training_data=fingerprint(training),
        learning=run.training_curves,
        drawings=run.extra_figures,
        out=out,
        language=language,
        progress=step,
        **options,
    )


def split_examples(examples: Sequence[Example], share: float) -> tuple[list[Example], list[Example]]:
    """Return the training examples and the held-out ones. Raises ConfigError when a side is too small."""
    held = [example for example in examples if _is_held(example, share)]
    training = [example for example in examples if not _is_held(example, share)]
    if not training or len(held) < _MIN_HELD_OUT:
        raise ConfigError(
            reason=f"of {len(examples)} examples {len(held)} would be held out; at least {_MIN_HELD_OUT} are needed "
            "(more data, or a larger [data] held_out)"
        )
    return training, held


def limit_examples(examples: Sequence[Example], max_examples: int | None) -> list[Example]:
    """Return at most `max_examples` of them, in their order; selected by a hash of each, like the split."""
    if max_examples is None or len(examples) <= max_examples:
        return list(examples)
    by_hash = sorted(range(len(examples)), key=lambda index: hash_position(examples[index].identity))
    return [examples[index] for index in sorted(by_hash[:max_examples])]


def _is_held(example: Example, share: float) -> bool:
    return held_out(example.group or example.identity, share) if example.held is None else example.held


def fingerprint(examples: Sequence[Example]) -> str:
    """Return the SHA-256 of the training data, independent of its order."""
    digests = sorted(hashlib.sha256(example.identity + b"\0" + str(example.y).encode()).digest() for example in examples)
    return hashlib.sha256(b"".join(digests)).hexdigest()


def _to_examples(examples: list[Example], images: tuple[ImageInput, ImageSteps] | None) -> Examples:
    y = [example.y for example in examples]
    if images is not None:
        return Examples(x=_tensor(examples, *images), y=y)
    first = examples[0].x
    return Examples(
        x=np.stack([example.x for example in examples]) if isinstance(first, np.ndarray) else [example.x for example in examples],
        y=y,
    )


def _tensor(examples: list[Example], image_input: ImageInput, steps: ImageSteps) -> NDArray[Any]:
    training_steps = msgspec.structs.replace(steps, dtype="float64" if steps.layout == "flat" else "float32")
    return tensor([decode(_image_bytes(example.x), image_input, steps, OWN_FILES) for example in examples], training_steps)


def _image_bytes(x: Any) -> bytes:
    return x if isinstance(x, bytes) else png(np.asarray(x, dtype=np.uint8))


def _samples(held: list[Example], *, images: bool) -> Any:
    if images:
        return [_image_bytes(example.x) for example in held]
    first = held[0].x
    return np.stack([example.x for example in held]) if isinstance(first, np.ndarray) else [example.x for example in held]


def _classes(examples: Sequence[Example], *, named: bool) -> list[Any] | None:
    """Return the sorted classes, for a model that only counts them; None where the truth may be a plain number.

    named: the project names labels, so numbers are classes too.
    """
    truths = {truth.y for truth in examples}
    all_texts = all(isinstance(truth, str) for truth in truths)
    return sorted(truths) if all_texts or named else None


def _train_function(folder: Path) -> Callable[[Run], Any]:
    path = folder / "train.py"
    if not path.is_file():
        raise ConfigError(reason=f"the project has no train.py (looked in {folder})")
    if any(name in path.read_text(encoding="utf-8") for name in ("keras", "tensorflow")):
        # Imported here, Keras prints nothing.
        try_import("keras")
    # train.py can import modules in its folder.
    sys.path.insert(0, str(folder.resolve()))
    train = runpy.run_path(str(path)).get("train")
    if not callable(train):
        raise ConfigError(reason="train.py has no function train(run)")
    check_signature(train, "train(run)", path.name)
    return train  # type: ignore[no-any-return]  # the user's function, known by its name
