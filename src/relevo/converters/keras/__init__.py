"""Converts Keras models of three generations and TensorFlow SavedModels: loads them, computes reference outputs, exports to ONNX."""
