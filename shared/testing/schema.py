"""The check that an application's tables and its revisions say the same."""

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import MetaData

from shared.storage.engine import Database
from shared.storage.migrate import upgrade


def assert_models_match_migrations(url: str, name: str, metadata: MetaData) -> None:
    """Migrate the empty database at `url` and compare it with `metadata`, types and indexes too.

    `name` is the application's (its revisions are in `services.<name>.migrations`). Raises
    AssertionError that lists the differences as Alembic would write them in a revision.
    """
    with Database(url, schema=name, name=name, metadata=metadata) as db:
        upgrade(db)
        with db.engine.connect() as connection:
            context = MigrationContext.configure(connection, opts={"compare_type": True})
            differences = compare_metadata(context, metadata)
    assert not differences, f"the tables of {name} differ from its revisions: {differences}"
