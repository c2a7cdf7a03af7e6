"""The file formats that model files come in, and what can be told of a file by its bytes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from relevo.importing.pickle_scan import Look


class Format(StrEnum):
    """A file format that model files come in."""

    #: Open Neural Network Exchange, one file.
    ONNX = "ONNX"
    #: Python's pickle, plain or as joblib writes it.
    PICKLE = "pickle"
    #: Keras' HDF5 file.
    KERAS_H5 = "Keras HDF5"
    #: Keras 3's zip.
    KERAS_ZIP = "Keras .keras"
    #: Keras' architecture without weights.
    KERAS_JSON = "Keras architecture JSON"
    #: TensorFlow's folder or its saved_model.pb.
    SAVED_MODEL = "TensorFlow SavedModel"
    #: TensorFlow Lite.
    TFLITE = "TensorFlow Lite"
    #: PyTorch's torch.save: numbers or a pickled module, zip or the older pickle.
    TORCH = "PyTorch"
    #: PyTorch's torch.export.save.
    TORCH_EXPORT = "PyTorch exported program"
    #: PyTorch's torch.jit.save.
    TORCHSCRIPT = "TorchScript"
    #: XGBoost as JSON.
    XGBOOST_JSON = "XGBoost JSON"
    #: XGBoost as universal binary JSON.
    XGBOOST_UBJ = "XGBoost UBJSON"
    #: XGBoost's binary before version 2.
    XGBOOST_BINARY = "XGBoost binary"
    #: LightGBM's text.
    LIGHTGBM = "LightGBM text"
    #: LightGBM's JSON dump, which cannot be loaded by LightGBM either.
    LIGHTGBM_JSON = "LightGBM JSON dump"
    #: Predictive Model Markup Language.
    PMML = "PMML"
    #: ONNX Runtime's own flat format.
    ORT = "ONNX Runtime .ort"
    #: Tensors without a model.
    SAFETENSORS = "safetensors"
    #: skops' zip.
    SKOPS = "skops"
    #: CatBoost's binary.
    CATBOOST = "CatBoost"
    #: A package that Relevo wrote.
    PACKAGE = "Relevo package"


#: What this release turns into a package, and what the quarantined child is told that it is.
IMPORTABLE = {
    Format.ONNX: "onnx",
    Format.PICKLE: "pickle",
    Format.TORCH_EXPORT: "torch_export",
    Format.TORCHSCRIPT: "torchscript",
    Format.KERAS_H5: "keras",
    Format.KERAS_ZIP: "keras",
    Format.KERAS_JSON: "keras",
    Format.SAVED_MODEL: "saved_model",
    Format.XGBOOST_JSON: "xgboost",
    Format.XGBOOST_UBJ: "xgboost",
    Format.XGBOOST_BINARY: "xgboost",
    Format.LIGHTGBM: "lightgbm",
}
#: What a person can do with a file of a format that is refused.
SUGGESTIONS = {
    Format.TORCH: "It holds numbers (a state_dict) or a pickled class, and not the model's code: load it in Python into its module "
    "and call relevo.pack(module, …), or import what torch.export.save(torch.export.export(module, …), 'model.pt2') writes",
    Format.LIGHTGBM_JSON: "LightGBM itself cannot load such a dump: save the booster with save_model('model.txt') and import that",
    Format.TFLITE: "It was made from a Keras model or a SavedModel, often with rounded numbers: import that",
    Format.PMML: "Have the tool that wrote it write ONNX too, or fit the model again and call relevo.pack(model, …)",
    Format.ORT: "It was made from an ONNX file for one machine: import that ONNX file",
    Format.SAFETENSORS: "It holds numbers and no model: load it in Python into its module and call relevo.pack(module, …)",
    Format.SKOPS: "Load it in Python with skops.io.load and call relevo.pack(model, …)",
    Format.CATBOOST: "CatBoost writes ONNX itself: load it in Python, call save_model('model.onnx', format='onnx') and import that",
}
#: Formats that a converter of their own opens, and its module; it has `open_file(task, bodies, samples) -> Done`.
FILE_CONVERTERS: dict[str, str] = {
    "lightgbm": "relevo.converters.boosting.lightgbm",
    "xgboost": "relevo.converters.boosting.xgboost",
    # What the libraries of another time spelled out of a pickle.
    "spelled": "relevo.importing.legacy.estimator",
    "torch_export": "relevo.converters.torch.convert",
    "torchscript": "relevo.converters.torch.convert",
    "keras": "relevo.converters.keras.convert",
    "saved_model": "relevo.converters.keras.saved_model",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectedFormat:
    """What a file is; a plain value."""

    format: Format
    version: str = ""  # of what wrote it, where the bytes tell
    framework: str = ""  # "scikit-learn 0.24.2", where the bytes tell
    compression: str = ""  # zlib, gzip, bz2, xz or lzma around a pickle
    look: Look | None = None  # of a pickle
