"""A trained model becomes an immutable package, and a package becomes a model that answers.

    model ─ convert/ ─► Converted ─ parity ─► Parts ─ assembling ─► folder | .zip
                                                                       │
    Package ◄─ opening: read through caps ─ digests ─ audit ─ manifest ┘

Nothing here serves or stores; the libraries that train are imported only by the converter that needs them.
"""
