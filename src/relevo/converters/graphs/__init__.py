"""Writes ONNX graphs node by node that match the original bit for bit: trees, linear models, derived features."""
