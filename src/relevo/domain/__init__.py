"""Domain model: immutable value objects and pure functions for packages, predictions, labels and access.

    signature ─ preprocessing ─ decision ─► manifest         what a package contains
    routing ─► prediction ◄─ label ─► curation               what was predicted, and the truth
    access · password_policy · login_backoff · audit         who may do what

No function here reads a file, a clock or a database.
"""
