"""Tables: SQLite by default, PostgreSQL by URL, migrations."""
