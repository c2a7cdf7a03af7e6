"""Boosted trees: XGBoost and LightGBM, read as trees of ours and written as graphs that take the same leaves."""
