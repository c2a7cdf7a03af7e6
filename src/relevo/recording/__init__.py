"""The background process: ships what the workers have answered to the store.

tick ─► ship ─► store.history        later releases sense, decide and act in the same tick
"""
