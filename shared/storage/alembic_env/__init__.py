"""The one Alembic environment; each application brings only its revisions."""
