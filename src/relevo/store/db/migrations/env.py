"""Alembic's entry: runs the steps on the connection it is given, inside that connection's transaction. Sets up no logging."""

from __future__ import annotations

from alembic import context

from relevo.store.db.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
