"""Alembic's entry point: runs the migrations in the transaction of the given connection. Configures no logging."""

from __future__ import annotations

from alembic import context

from relevo.store.db.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
