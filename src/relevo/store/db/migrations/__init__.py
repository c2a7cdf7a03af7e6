"""Alembic migrations of the schema, one file each, run by `relevo.store.db.engine.migrate`.

    versions/mNNNN_pre_….py    runs before the new code starts: only adds what the old code tolerates
    versions/mNNNN_post_….py   runs after the last old process has stopped: removes what no code reads any more

So a database is upgraded without downtime. A released migration is never changed. A migration imports nothing of Relevo, whose
tables change later. To add one: write the file, raise HEAD, change `tables/`; the tests compare all three.
"""

from __future__ import annotations

#: The newest revision. For a database at this revision nothing runs, and Alembic is not imported.
HEAD = "0001"
