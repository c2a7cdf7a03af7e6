"""The journal between an answer and the history: written by the worker before it answers, read by the loop, then removed.

    worker: predictions ─ Journal.write ─► spool/<worker>/<number>.journal ─ SpoolReader ─► loop ─► store ─► file removed

One SQLite file is open for writing in each worker, in WAL mode and without checkpoints on the path; a row is one batch, encoded by
MessagePack. What was committed survives kill -9 of the worker at any moment (`full` also a power loss). A file that its writer left
open, because it was killed, is read like any other once its lock is free.
"""
