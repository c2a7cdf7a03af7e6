"""Converts scikit-learn models to ONNX, including those that wrap boosters or begin with a DictVectorizer."""
