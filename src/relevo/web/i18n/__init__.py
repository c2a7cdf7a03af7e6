"""Every sentence that leaves by HTTP, in each language: one JSON catalogue a language, read by `catalog.py`."""
