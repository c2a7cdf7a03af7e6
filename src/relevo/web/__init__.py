"""Relevo over HTTP: routes, the model page, OpenAPI, languages, and the one map from error to answer.

    bytes ─► Envelope ─► Boundary ─► Dispatch ─┬─► predict handlers   raw ASGI, the hot path
             request id  errors                └─► FastAPI            everything else: store reads, labels, page, docs
             headers     become problems

This room translates; the work is done by the objects it is given (`app.Parts`). It never sees SQL and never imports the loop.
"""
