"""Project folders: `relevo.toml`, `train.py` and data become a package, reproducibly.

    relevo.toml ─ config ─► Project ──┐
    data/ ─ data ─► Examples ─ holdout (by a hash of each example) ─► training, held out
                                      └─ training: train(run) ─► fitted model ─► relevo.converters.pack ─► package

Missing settings are named in the error; for an unknown key the error suggests the nearest known one.
"""
