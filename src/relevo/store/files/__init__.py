"""Storage in files: packages, large inputs, keys."""
