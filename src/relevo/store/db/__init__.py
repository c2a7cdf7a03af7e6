"""The database: engine, SQLite specifics, tables, migrations."""
