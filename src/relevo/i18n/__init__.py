"""Translation and formatting of user-visible text: one folder per language, one JSON file per catalogue, read by `catalog.py`.

    page, console     key ─► text, in every language
    errors            error code ─► sentence; the English one is in `errors.py`
    words, reasons, cli, settings, api     English text, with numbered or named placeholders ─► translation
    libraries         the same for messages of Typer, SQLite and the operating system

The English texts are in the source; a test reads it and reports missing and unused translations.
`formatting.py` formats numbers, percentages and dates.
"""
