"""scikit-learn: pickles looked at before they run, old ones mended or refused, written by skl2onnx or exactly."""
