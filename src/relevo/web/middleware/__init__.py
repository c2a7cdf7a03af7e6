"""ASGI middleware applied to every route."""
