"""One model run the way it is served: prepare, run, finish.

    payload ─ image | record: prepare ─► row ─ stack ─► session.run ─► scores ─ domain.decision ─► Answer

Packaging proves parity through this room and serving answers through it, so what was proved is what is served.
No framework that trains models is imported here; the session is ONNX Runtime's and nothing else.
"""
