"""Numbers that decide something, as pure functions of arrays: no files, no clock, no hidden randomness.

bins · image_stats          what a reference profile counts
intervals · calibration     how sure a figure is, and how honest a probability
"""
