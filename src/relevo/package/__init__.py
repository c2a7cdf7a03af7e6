"""Builds and opens packages: the immutable, verified form of a trained model.

    model ─ converters/ ─► ConvertedModel ─ parity ─► PackageSpec ─ build ─► folder | .zip
                                                                                │
    Package ◄─ manifest ─ digests ─ ONNX validation ─ archive (size limits) ────┘

This package neither serves nor stores. Only the converter of a training library imports that library.
"""
