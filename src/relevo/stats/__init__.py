"""Statistics as pure functions of arrays: no files, no clock, no hidden randomness.

bins · image_stats          drift reference of a package
histograms                  counts and latencies of served requests
intervals · calibration     confidence of a metric, reliability of probabilities
paired                      whether one of two models is worse
"""
