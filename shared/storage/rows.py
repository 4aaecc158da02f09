"""Statements that both databases know, but that SQLAlchemy writes per dialect."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

T = TypeVar("T")
BATCH = 500  # SQLite allows 32,766 parameters a statement, PostgreSQL 65,535


def in_batches(items: Sequence[T], size: int = BATCH) -> Iterator[Sequence[T]]:
    """Yield `items` in order, at most `size` at a time."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def insert_missing(session: Session, model: type[Any], rows: Sequence[Mapping[str, Any]]) -> int:
    """Insert the rows whose primary or unique keys are not there yet; returns how many.

    Two writers of one key don't fail: the later one waits for the earlier and leaves its row.
    """
    insert = sqlite.insert if session.get_bind().dialect.name == "sqlite" else postgresql.insert
    added = 0
    for batch in in_batches(rows):
        statement = insert(model).values([dict(row) for row in batch]).on_conflict_do_nothing()
        # Without the option SQLAlchemy does not ask psycopg for the count of an INSERT.
        done = session.execute(statement, execution_options={"preserve_rowcount": True})
        added += int(getattr(done, "rowcount", 0))
    return added
