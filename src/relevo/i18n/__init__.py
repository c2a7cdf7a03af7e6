"""Every sentence a person reads, in each language: one folder a language, one JSON file a chapter, read by `catalog.py`.

    page, console     a key of ours ─► the text, in every language
    errors            an error's code ─► its sentence; the English one stands beside the class in `errors.py`
    words, reasons, cli, settings, api     the English text itself, its holes numbered or named ─► the translation
    libraries         the same for what Typer, SQLite and the system say through us

English is written where it is meant; a test reads the source and names what a language lacks, or has too much.
Numbers, percentages and moments are written by `figures.py`.
"""
