"""Old model files: a temporary environment with the libraries that wrote them predicts the samples and serializes the model to JSON."""
