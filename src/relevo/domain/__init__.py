"""The words of Relevo as frozen values: what a model takes, how it answers, what is remembered of each answer.

    signature ─ preprocessing ─ decision ─► manifest          what a package is
    route ─► prediction ◄─ label                             what happened, and what was true
    profile                                                  how held-out data looked

Nothing here reads a file, a clock or a database; every function is pure.
"""
