"""The database layer: engine, SQLite specifics, tables, migrations."""
