"""A counting application with an empty database, on SQLite and on PostgreSQL."""

from collections.abc import Iterator

import pytest

from shared.storage.engine import Database
from shared.testing.counting import create


@pytest.fixture
def db(database_url: str) -> Iterator[Database]:
    made = create(database_url)
    yield made
    made.close()
