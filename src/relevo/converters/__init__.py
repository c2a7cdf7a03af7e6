"""Converts fitted models to ONNX, one subpackage for each model library.

    model ─► ConvertedModel(onnx, input, steps, output, outputs of the original)

A converter checks nothing itself: `relevo.package.parity` compares the result with the original, using the serving code.
"""
