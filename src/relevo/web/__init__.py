"""The HTTP interface: routes, the model page, OpenAPI, languages, and the mapping from errors to responses.

    bytes ─► SecurityHeaders ─► Error ────► TrustedHost ─► Auth ───► PredictDispatch ─┬► predict handlers   raw ASGI, the hot path
             request id,        exception   Host and       401, 403                   └► RateLimit ─► BodyLimit ─► FastAPI   the rest
             headers            ─► JSON     Origin checks                                if configured

    a plain predict request ─► http.fast_path: from the parser to the batch and back without this stack; the outcome is the same

This package translates between HTTP and the objects in `context.AppContext`, which do the work. It runs no SQL and does not import
the background process.
"""
