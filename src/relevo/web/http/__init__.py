"""HTTP/1.1 below ASGI: the uvicorn protocol with limits, and the fast path of predict."""
