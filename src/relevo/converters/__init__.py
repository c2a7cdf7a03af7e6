"""One file a family of models: each turns a fitted model into ONNX bytes and tells what goes in and what comes out.

    model ─► Converted(onnx, input, steps, output, outputs of the original)

A converter proves nothing; `relevo.package.parity` does, with the very code that serves.
"""
