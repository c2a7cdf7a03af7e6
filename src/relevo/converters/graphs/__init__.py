"""ONNX graphs written node by node, equal to the original to the bit: trees, linear models, derived features."""
