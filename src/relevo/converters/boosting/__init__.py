"""Converts boosted trees: XGBoost and LightGBM models become ONNX graphs in which every row reaches the same leaves."""
