"""The audit log: writing, reading, verifying, and its checkpoints."""
