"""File formats of models, and what detection finds out about a file."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from relevo.importing.pickle_scan import PickleScan


class Format(StrEnum):
    """A file format of models."""

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
    #: PyTorch's torch.save: tensors or a pickled module, in a zip or the older pickle.
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
    #: LightGBM's JSON dump, which LightGBM cannot load either.
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


#: Formats that this release imports, with their names in the sandbox protocol.
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
#: What the user can do with a file of a format that is not imported.
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
#: Converter modules by format; each has `open_file(options, bodies, samples) -> ConversionResult`.
FILE_CONVERTERS: dict[str, str] = {
    "lightgbm": "relevo.converters.boosting.lightgbm",
    "xgboost": "relevo.converters.boosting.xgboost",
    # A pickle that the legacy worker serialized.
    "spelled": "relevo.importing.legacy.estimator",
    "torch_export": "relevo.converters.torch.convert",
    "torchscript": "relevo.converters.torch.convert",
    "keras": "relevo.converters.keras.convert",
    "saved_model": "relevo.converters.keras.saved_model",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectedFormat:
    """The detected format of a file; a plain value."""

    format: Format
    version: str = ""  # of the writer, where the bytes contain it
    framework: str = ""  # "scikit-learn 0.24.2", where the bytes contain it
    compression: str = ""  # zlib, gzip, bz2, xz or lzma around a pickle
    scan: PickleScan | None = None  # of a pickle
