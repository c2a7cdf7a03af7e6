"""The hash-chained audit log: writing, reading, verification, keys and checkpoints."""
