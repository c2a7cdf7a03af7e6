"""Relevo over HTTP: routes, the model page, OpenAPI, languages, and the one map from error to answer.

    bytes ─► Envelope ─► Boundary ─► Wall ──► Guard ──► Dispatch ─┬► predict handlers   raw ASGI, the hot path
             request id  errors      not from  who asks,          └► Turnstile ─► BodyLimitMiddleware ─► FastAPI   everything else
             headers     become      another   and may            where rates are
                         problems    site      they?              bound

    a plain predict request ─► express: from the parser to the batch and back, past all of these, and with the same outcome

This room translates; the work is done by the objects it is given (`app.Parts`). It never sees SQL and never imports the loop.
"""
