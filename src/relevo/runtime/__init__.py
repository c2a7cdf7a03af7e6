"""Runs one model: prepares an input, runs the ONNX session, turns scores into a decision.

    payload ─ image | record: prepare ─► row ─ stack ─► session.run ─► scores ─ domain.decision ─► DecisionResult

Packaging measures parity through this package and serving predicts through it, so that the measured code is the served code.
No training framework is imported here; the only session is that of ONNX Runtime.
"""
