"""Serves predictions: selects the model version, batches rows, runs the model, records and returns the results.

    web ─► service ─ router.pick ─► version ─ prepare ─► batcher ─ dispatch ─► run ─ finish ─ journal.write ─► resolve ─► web

    model_loader   polls the stored routes: loads and warms up the new version, then swaps; the old one finishes its requests

This package imports neither the database nor the web framework; it receives plain functions.
"""
