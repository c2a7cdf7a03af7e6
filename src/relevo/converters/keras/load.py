"""The bytes of a Keras file as a live model; called behind the walls only, and in memory: no file can be written there.

    HDF5 (Keras 1 to 3) ──────┐
    JSON + HDF5 of weights ───┼─ architecture: no programs, today's words ─► layers ─ weights ─► Loaded
    .keras (Keras 3's zip) ───┘

What is broken or a program is found before TensorFlow is loaded, which takes seconds.
"""

from __future__ import annotations

import io
import json
import resource
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from relevo.converters.keras.legacy_config import OLD_HARD_SIGMOID, major, refuse_custom_layers, upgrade_config
from relevo.converters.keras.legacy_weights import rearrange
from relevo.converters.keras.silent_import import library, silence_stderr
from relevo.converters.limits import Bounds
from relevo.converters.sklearn.estimator import one_line
from relevo.errors import ConversionError, InvalidOptionsError, MissingDependencyError, RelevoError

if TYPE_CHECKING:
    from collections.abc import Sequence

_CONFIG, _METADATA, _WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
#: Bytes that any file may unpack to, and for each of its own.
_SLACK, _SWELLING = 32 * 2**20, 8
_TIMES_HELD = 3
#: Of an architecture; those of the largest networks have a few hundred thousand characters.
_MAX_TEXT = 64 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A live model out of a file; lives as long as one conversion."""

    model: Any
    release: str  # of the Keras that wrote it, as the file says
    loss: Any = None  # it was trained with, as the file tells it


def load(bodies: Sequence[bytes]) -> Loaded:
    """The model in the first body, with the weights in the second where they are apart.

    Raises ConversionError in words for a person, InvalidOptionsError when the weights are missing, MissingDependencyError.
    """
    data = bodies[0]
    try:
        if data.startswith(b"\x89HDF"):
            return _from_hdf5(data)
        if data.startswith(b"PK"):
            return _from_zip(data)
        return _from_json(data, bodies[1])
    except (RelevoError, MemoryError):
        raise
    except Exception as cause:
        raise ConversionError(reason=f"Keras cannot load it ({one_line(cause)})") from cause


def _from_hdf5(data: bytes) -> Loaded:
    with _opened(data) as file:
        told = file.attrs.get("model_config")
        if told is None:
            raise InvalidOptionsError(
                options="the architecture: this file has only weights. Import the model's JSON, with this file as --weights"
            )
        release = _text(file.attrs.get("keras_version", file["model_weights"].attrs.get("keras_version", "1")))
        model = _built(_architecture(_text(told)), release)
        _fill(model, file["model_weights"], release)
        training = _text(file.attrs.get("training_config", ""))
    return Loaded(model=model, release=release, loss=_loss(training))


def _from_json(architecture: bytes, weights: bytes) -> Loaded:
    if not weights:
        raise InvalidOptionsError(options="--weights FILE, for it is an architecture without its weights")
    plain = _architecture(architecture)
    with _opened(weights) as file:
        group = file.get("model_weights", file)
        release = str(plain.get("keras_version") or _text(group.attrs.get("keras_version", "1")))
        if "layer_names" not in group.attrs and "layer_names0" not in group.attrs:
            return Loaded(model=_with_state(_built(plain, release), weights), release=release)
        model = _built(plain, release)
        _fill(model, group, release)
    return Loaded(model=model, release=release)


def _from_zip(data: bytes) -> Loaded:
    """Keras 3's own format; its loader reads the weights out of the zip in memory."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        sizes = {name: archive.getinfo(name).file_size for name in (_CONFIG, _WEIGHTS)}
        if sizes[_CONFIG] > _MAX_TEXT or sizes[_WEIGHTS] > 2**31 - 1:
            raise ConversionError(reason=f"its {_CONFIG if sizes[_CONFIG] > _MAX_TEXT else _WEIGHTS} is larger than any network's")
        _refuse_swelling(sum(sizes.values()), len(data))
        plain = _architecture(archive.read(_CONFIG))
        told = json.loads(archive.read(_METADATA)) if _METADATA in archive.namelist() else {}
        release = str(told.get("keras_version", "3"))
        weights = archive.read(_WEIGHTS)
    with _opened(weights):
        pass  # what it promises is held against the bounds
    return Loaded(
        model=_with_state(_built(plain, release), weights),
        release=release,
        loss=_loss(json.dumps(plain.get("compile_config"))),
    )


def _opened(data: bytes) -> Any:
    """HDF5 in memory, writable there. Raises MissingDependencyError, ConversionError."""
    try:
        import h5py  # type: ignore[import-untyped]
    except ImportError as cause:
        raise MissingDependencyError(extra="keras") from cause
    try:
        file = h5py.File(io.BytesIO(data), "r+")
    except (OSError, ValueError) as cause:
        raise ConversionError(reason="it is a damaged HDF5 file, or was cut off") from cause
    promised: list[int] = []
    file.visititems(
        lambda _, one: promised.append(int(one.size or 0) * one.dtype.itemsize) if isinstance(one, h5py.Dataset) else None
    )
    _refuse_swelling(sum(promised), len(data))
    return file


def _refuse_swelling(unpacked: int, packed: int) -> None:
    """Weights hardly become smaller when they are packed; what would become much larger is made to fill the memory.

    A person who gives more memory than a file of this size is given lets it swell into that. Raises ConversionError.
    """
    most = _SLACK + _SWELLING * packed
    given = resource.getrlimit(resource.RLIMIT_DATA)[0]
    if unpacked > most and (
        given == resource.RLIM_INFINITY or unpacked > given // _TIMES_HELD or given <= Bounds().for_bytes(packed).data_mb * 2**20
    ):
        raise ConversionError(
            reason=f"it would unpack from {packed} bytes to {unpacked}, which no network's weights do; --max-memory allows more"
        )


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _architecture(text: str | bytes) -> dict[str, Any]:
    if len(text) > _MAX_TEXT:
        raise ConversionError(reason="its architecture is larger than any network's")
    try:
        plain = json.loads(text)
    except (ValueError, RecursionError) as cause:
        raise ConversionError(reason="its architecture is no JSON") from cause
    if not isinstance(plain, dict) or not isinstance(plain.get("class_name"), str) or "config" not in plain:
        raise ConversionError(reason="its architecture is none that Keras writes")
    return plain


def _built(plain: dict[str, Any], release: str) -> Any:
    """The layers without their weights. Raises ConversionError."""
    config = upgrade_config(
        {key: value for key, value in plain.items() if key in ("class_name", "config", "module", "registered_name")}, release
    )
    # What needs no Keras to be refused is refused first.
    refuse_custom_layers(config, lambda _: True)
    keras = library("keras")
    refuse_custom_layers(config, lambda kind: kind == "Functional" or hasattr(keras.layers, kind) or hasattr(keras.models, kind))
    with silence_stderr():
        return _deserialized(keras, config)


def _deserialized(keras: Any, config: dict[str, Any]) -> Any:
    tensorflow = library("tensorflow")

    def old_hard_sigmoid(numbers: Any) -> Any:
        return tensorflow.clip_by_value(0.2 * numbers + 0.5, 0.0, 1.0)

    own = {OLD_HARD_SIGMOID: old_hard_sigmoid}
    if "module" in config:
        return keras.saving.deserialize_keras_object(config, custom_objects=own, safe_mode=True)
    from keras.src.legacy.saving import saving_options, saving_utils  # type: ignore[import-untyped]
    from keras.src.saving.serialization_lib import SafeModeScope  # type: ignore[import-untyped]

    with saving_options.keras_option_scope(use_legacy_config=True), SafeModeScope(True):  # noqa: FBT003 - Keras' own signature
        return saving_utils.model_from_config(config, custom_objects=own)


def _fill(model: Any, group: Any, release: str) -> None:
    """Weights by the order of the layers, as every HDF5 file before `.weights.h5` has them. Raises ConversionError."""
    from keras.src.legacy.saving import legacy_h5_format

    rearrange(model, group, keras=major(release), theano=_text(group.attrs.get("backend", "")) == "theano")
    try:
        with silence_stderr():
            legacy_h5_format.load_weights_from_hdf5_group(group, model)
    except (ValueError, KeyError) as cause:
        raise ConversionError(reason=f"its weights do not fit its architecture ({one_line(cause)})") from cause


def _with_state(model: Any, weights: bytes) -> Any:
    """Weights as Keras 3 writes them, by the layers' places. Raises ConversionError when any is missing."""
    from keras.src.saving import saving_lib  # type: ignore[import-untyped]

    store = saving_lib.H5IOStore(io.BytesIO(weights), mode="r")
    try:
        with silence_stderr():
            saving_lib._load_state(model, weights_store=store, assets_store=None, inner_path="")  # noqa: SLF001 - see above
    except (ValueError, KeyError) as cause:
        raise ConversionError(reason=f"its weights do not fit its architecture ({one_line(cause)})") from cause
    finally:
        store.close()
    return model


def _loss(training: str) -> Any:
    try:
        told = json.loads(training)
    except (ValueError, RecursionError):
        return None
    return told.get("loss") if isinstance(told, dict) else None
