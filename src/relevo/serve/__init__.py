"""One request, top to bottom.

    web ─► service ─ router.pick ─► lane ─ prepare ─► batcher ─ cut ─► run ─ finish ─ journal.write ─► settle ─► web

    watcher   follows the stored routes: loads and warms the new lane, then swaps; the old one ends its tickets

This room sees no database and no web framework; it is given plain functions.
"""
