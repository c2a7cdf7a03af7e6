"""Loads a Keras file's bytes as a live model, in memory; used only inside the sandbox, which does not allow writing files.

    HDF5 (Keras 1 to 3) ──────┐
    JSON + HDF5 of weights ───┼─ architecture: no code, upgraded ─► layers ─ weights ─► LoadedModel
    .keras (Keras 3's zip) ───┘

Damaged files and files that contain code are rejected before TensorFlow is imported, which takes seconds.
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
#: Bytes that any file may unpack to, and the additional ones for each byte of the file.
_SLACK, _EXPANSION = 32 * 2**20, 8
_MODEL_COPIES = 3
#: Maximum size of an architecture; those of the largest networks have a few hundred thousand characters.
_MAX_TEXT = 64 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """A live model from a file. Lifetime: one conversion."""

    model: Any
    release: str  # version of the Keras that wrote it, from the file
    loss: Any = None  # training loss, from the file


def load(bodies: Sequence[bytes]) -> LoadedModel:
    """Loads the model in the first body, with the weights in the second if they are separate.

    Raises ConversionError, InvalidOptionsError when the weights are missing, MissingDependencyError.
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


def _from_hdf5(data: bytes) -> LoadedModel:
    with _open_hdf5(data) as file:
        config = file.attrs.get("model_config")
        if config is None:
            raise InvalidOptionsError(
                options="the architecture: this file has only weights. Import the model's JSON, with this file as --weights"
            )
        release = _text(file.attrs.get("keras_version", file["model_weights"].attrs.get("keras_version", "1")))
        model = _build(_architecture(_text(config)), release)
        _load_weights(model, file["model_weights"], release)
        training = _text(file.attrs.get("training_config", ""))
    return LoadedModel(model=model, release=release, loss=_loss(training))


def _from_json(architecture: bytes, weights: bytes) -> LoadedModel:
    if not weights:
        raise InvalidOptionsError(options="--weights FILE, for it is an architecture without its weights")
    config = _architecture(architecture)
    with _open_hdf5(weights) as file:
        group = file.get("model_weights", file)
        release = str(config.get("keras_version") or _text(group.attrs.get("keras_version", "1")))
        if "layer_names" not in group.attrs and "layer_names0" not in group.attrs:
            return LoadedModel(model=_load_state(_build(config, release), weights), release=release)
        model = _build(config, release)
        _load_weights(model, group, release)
    return LoadedModel(model=model, release=release)


def _from_zip(data: bytes) -> LoadedModel:
    """Loads Keras 3's own format; its loader reads the weights from the zip in memory."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        sizes = {name: archive.getinfo(name).file_size for name in (_CONFIG, _WEIGHTS)}
        if sizes[_CONFIG] > _MAX_TEXT or sizes[_WEIGHTS] > 2**31 - 1:
            raise ConversionError(reason=f"its {_CONFIG if sizes[_CONFIG] > _MAX_TEXT else _WEIGHTS} is larger than any network's")
        _check_expansion(sum(sizes.values()), len(data))
        architecture = _architecture(archive.read(_CONFIG))
        metadata = json.loads(archive.read(_METADATA)) if _METADATA in archive.namelist() else {}
        release = str(metadata.get("keras_version", "3"))
        weights = archive.read(_WEIGHTS)
    with _open_hdf5(weights):
        pass  # checks the declared sizes
    return LoadedModel(
        model=_load_state(_build(architecture, release), weights),
        release=release,
        loss=_loss(json.dumps(architecture.get("compile_config"))),
    )


def _open_hdf5(data: bytes) -> Any:
    """Opens HDF5 in memory, writable. Raises MissingDependencyError, ConversionError."""
    try:
        import h5py  # type: ignore[import-untyped]
    except ImportError as cause:
        raise MissingDependencyError(extra="keras") from cause
    try:
        file = h5py.File(io.BytesIO(data), "r+")
    except (OSError, ValueError) as cause:
        raise ConversionError(reason="it is a damaged HDF5 file, or was cut off") from cause
    declared: list[int] = []
    file.visititems(
        lambda _, item: declared.append(int(item.size or 0) * item.dtype.itemsize) if isinstance(item, h5py.Dataset) else None
    )
    _check_expansion(sum(declared), len(data))
    return file


def _check_expansion(unpacked: int, packed: int) -> None:
    """Rejects files that unpack to much more than their size, to protect the memory: weights are hardly compressible.

    A memory limit that the user raised above the default for this size permits it. Raises ConversionError.
    """
    allowed = _SLACK + _EXPANSION * packed
    memory_limit = resource.getrlimit(resource.RLIMIT_DATA)[0]
    if unpacked > allowed and (
        memory_limit == resource.RLIM_INFINITY
        or unpacked > memory_limit // _MODEL_COPIES
        or memory_limit <= Bounds().for_bytes(packed).data_mb * 2**20
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


def _build(architecture: dict[str, Any], release: str) -> Any:
    """Builds the layers without their weights. Raises ConversionError."""
    config = upgrade_config(
        {key: value for key, value in architecture.items() if key in ("class_name", "config", "module", "registered_name")}, release
    )
    # First what can be rejected without importing Keras.
    refuse_custom_layers(config, lambda _: True)
    keras = library("keras")
    refuse_custom_layers(config, lambda kind: kind == "Functional" or hasattr(keras.layers, kind) or hasattr(keras.models, kind))
    with silence_stderr():
        return _deserialize(keras, config)


def _deserialize(keras: Any, config: dict[str, Any]) -> Any:
    tensorflow = library("tensorflow")

    def old_hard_sigmoid(numbers: Any) -> Any:
        return tensorflow.clip_by_value(0.2 * numbers + 0.5, 0.0, 1.0)

    custom_objects = {OLD_HARD_SIGMOID: old_hard_sigmoid}
    if "module" in config:
        return keras.saving.deserialize_keras_object(config, custom_objects=custom_objects, safe_mode=True)
    from keras.src.legacy.saving import saving_options, saving_utils  # type: ignore[import-untyped]
    from keras.src.saving.serialization_lib import SafeModeScope  # type: ignore[import-untyped]

    with saving_options.keras_option_scope(use_legacy_config=True), SafeModeScope(True):  # noqa: FBT003 - Keras' signature
        return saving_utils.model_from_config(config, custom_objects=custom_objects)


def _load_weights(model: Any, group: Any, release: str) -> None:
    """Loads weights by the order of the layers, as in every HDF5 file before `.weights.h5`. Raises ConversionError."""
    from keras.src.legacy.saving import legacy_h5_format

    rearrange(model, group, keras=major(release), theano=_text(group.attrs.get("backend", "")) == "theano")
    try:
        with silence_stderr():
            legacy_h5_format.load_weights_from_hdf5_group(group, model)
    except (ValueError, KeyError) as cause:
        raise ConversionError(reason=f"its weights do not fit its architecture ({one_line(cause)})") from cause


def _load_state(model: Any, weights: bytes) -> Any:
    """Loads weights in Keras 3's format, by layer position. Raises ConversionError when any is missing."""
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
        config = json.loads(training)
    except (ValueError, RecursionError):
        return None
    return config.get("loss") if isinstance(config, dict) else None
