"""Converts PyTorch models to ONNX: loads them, computes reference outputs, exports with torch.onnx."""
