"""The schema's history, one file a step, run by `relevo.store.db.engine.migrate`.

    versions/mNNNN_pre_….py    before the new code starts: adds only what the old code does not mind
    versions/mNNNN_post_….py   after the last old process has gone: takes away what nobody reads any more

So a database is upgraded without a stop. A step is never changed once released; it says everything itself and imports
nothing of Relevo, whose tables will have moved on. To add one: write the file, raise HEAD, change `tables/`; the tests
hold all three against each other.
"""

from __future__ import annotations

#: The newest revision. A database that stands here is not touched, and Alembic is not loaded.
HEAD = "0012"
