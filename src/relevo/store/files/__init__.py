"""What is kept in files: packages, inputs, keys."""
