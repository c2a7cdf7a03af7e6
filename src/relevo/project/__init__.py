"""A user's folder: `relevo.toml`, `train.py` and data become a package, the same way every time.

    relevo.toml ─ reading ─► Project ──┐
    data/ ─ data ─► Examples ─ split (by a hash of each example) ─► training, held out
                                       └─ training: train(run) ─► fitted model ─► relevo.converters.pack ─► package

What a person forgets to say is asked for by name; what is misspelt is refused with the nearest key.
"""
