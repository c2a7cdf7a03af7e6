"""The model card: its text, its figures, and the training curves."""
