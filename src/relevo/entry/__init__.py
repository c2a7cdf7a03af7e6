"""Where child processes begin: settings on standard input, then compose builds the rest.

    supervisor ─ spawn ─► python -m relevo.entry.worker     HTTP, preprocessing, sessions, journal
                       └► python -m relevo.entry.loop       ships journals to the store
    tests, demo ─────────► python -m relevo.entry.server    the supervisor itself
"""
