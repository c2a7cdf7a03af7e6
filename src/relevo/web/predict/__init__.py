"""Predict routes: reading the body, asking the model, writing the answer."""
