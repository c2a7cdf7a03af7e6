"""Neural networks: Keras of three generations, TensorFlow, PyTorch: loaded, asked about the samples, traced to ONNX."""
