"""PyTorch modules → ONNX."""
