"""The console: pages for people, in a process of its own; to the server it is a client like any other.

    launch ─► uvicorn ─► door (signs in, speaks a language) ─► app.py, run by Streamlit once a visit and click
                           │                                     └► session.here() ─► pages/*.show(session) ─► client ─► API
                           └► visitors: cookie ─► somebody's signed-in client, in memory alone

A page is one file in `pages/` with `show(session)`, listed in `pages/__init__.py`. The console knows nothing of the store and holds
no key of its own: what the signed-in person may not do is refused by the server.
"""
