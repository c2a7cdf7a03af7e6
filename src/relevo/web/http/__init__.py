"""HTTP/1.1 below ASGI: uvicorn's protocol with additional limits, and the fast path of predict requests."""
