"""Import of model files: format detection, sandboxed conversion, parity check, packaging."""
