"""Records predictions: workers write journals; the background process copies them to the database.

worker: journal.write ─► journal files ─► background process: reader ─► shipper ─► database
"""
