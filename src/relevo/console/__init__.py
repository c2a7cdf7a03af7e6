"""The console: a web interface for people, in its own process; for the server it is an HTTP client like any other.

    server.run ─► uvicorn ─► ProxyMiddleware ─► LoginMiddleware ─► app.py, run by Streamlit for each page view and click
                                                  │                  └► current_session() ─► pages/*.show(session) ─► client ─► API
                                                  └► ConsoleSessions: cookie ─► logged-in API client, in memory only

A page is one file in `pages/` with `show(session)`, listed in `pages/__init__.py`. The console has no access to the store and no API
key of its own: the server decides what the logged-in user may do.
"""
