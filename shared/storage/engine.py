"""One database: SQLite or PostgreSQL, short transactions, errors that say what to do."""

import sqlite3
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sqlalchemy import URL, Connection, Engine, MetaData, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.orm import Session

from shared.errors import UsageError
from shared.settings import Settings
from shared.storage.failures import explained

BUSY_S = 10  # a writer waits this long for the one before it; a batch takes well under a second
CONNECT_S = 5
ACCOUNTS = "accounts"


def normal_url(url: str) -> URL:
    """Return `url` with the driver this project uses; raises UsageError for other databases."""
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise UsageError("the database address is no URL; give postgresql://user@host/name") from error
    drivers = {"postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg", "sqlite": "sqlite"}
    kind = parsed.drivername.split("+")[0]
    if kind not in drivers:
        raise UsageError(f"database {kind!r} is not one of sqlite, postgresql")
    return parsed.set(drivername=drivers[kind])


class Database:
    """A database and, on PostgreSQL, one schema in it. Nothing is opened before it is used.

    `metadata` are the tables that belong there; `max_pages` bounds a SQLite file (a quota in pages
    of 4 KiB), `busy_s` is how long a writer of it waits for the one before. Reads and writes raise
    Unavailable, StorageFull, Conflict and Damaged; a violated constraint stays SQLAlchemy's
    IntegrityError. Safe to share between threads.
    """

    def __init__(
        self,
        url: str | URL,
        *,
        schema: str | None = None,
        name: str | None = None,
        metadata: MetaData | None = None,
        max_pages: int | None = None,
        busy_s: float = BUSY_S,
    ) -> None:
        self.url = normal_url(url) if isinstance(url, str) else url
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.schema = None if self.is_sqlite else schema
        self.name = name or schema or "database"
        self.metadata = metadata
        self.max_pages = max_pages
        self.busy_s = busy_s
        self._engine: Engine | None = None
        self._lock = threading.Lock()

    @property
    def where(self) -> str:
        """Where it is, for messages: a path, or an address without the password."""
        return str(self.path) if self.path else self.url.render_as_string(hide_password=True)

    @property
    def path(self) -> Path | None:
        """The SQLite file; None for PostgreSQL and for a database in memory."""
        held_in_memory = not self.url.database or self.url.database == ":memory:"
        return None if not self.is_sqlite or held_in_memory else Path(str(self.url.database))

    @property
    def engine(self) -> Engine:
        """The engine; its plain transactions are those of `write`."""
        with self._lock:
            if self._engine is None:
                self._engine = _sqlite_engine(self) if self.is_sqlite else _postgres_engine(self)
                # A pool that is only forgotten warns for each connection that it still holds.
                weakref.finalize(self, self._engine.dispose)
            return self._engine

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Open one consistent snapshot; nothing written in it is kept, and writing raises."""
        with explained(self.where):
            options: dict[str, Any] = {"trillium_read": True}
            if not self.is_sqlite:
                options |= {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
            with Session(self.engine.execution_options(**options), expire_on_commit=False) as session:
                yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Open a transaction that is committed when the block ends well, else undone.

        On SQLite it is the only writer from its start (BEGIN IMMEDIATE: a transaction that reads
        first and writes later would fail at once beside another writer).
        """
        with explained(self.where), Session(self.engine, expire_on_commit=False) as session, session.begin():
            session.connection()  # begins now: SQLAlchemy would begin with the first statement
            yield session

    def close(self) -> None:
        """Close the connections; the next use opens new ones."""
        with self._lock:
            if self._engine is not None:
                self._engine.dispose()
                self._engine = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _sqlite_engine(db: Database) -> Engine:
    if db.path:
        db.path.parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(db.url, connect_args={"timeout": db.busy_s})

    @event.listens_for(engine, "connect")
    def _prepare(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # the driver would begin by itself, and only before a write
        # NORMAL may lose the last commits at a power cut, results and offsets together: they are sent again.
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")
        if db.max_pages is not None:
            connection.execute(f"PRAGMA max_page_count={int(db.max_pages)}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        reads = bool(connection.get_execution_options().get("trillium_read"))
        connection.exec_driver_sql(f"PRAGMA query_only={'ON' if reads else 'OFF'}")
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

    return engine


def _postgres_engine(db: Database) -> Engine:
    engine = create_engine(db.url, pool_pre_ping=True, connect_args={"connect_timeout": CONNECT_S})

    @event.listens_for(engine, "connect", insert=True)
    def _prepare(connection: Any, _record: object) -> None:
        before, connection.autocommit = connection.autocommit, True
        connection.execute("SET TIME ZONE 'UTC'")
        if db.schema:
            connection.execute("SELECT set_config('search_path', quote_ident(%s), false)", [db.schema])
        connection.autocommit = before

    return engine


def database_for(settings: Settings, name: str, metadata: MetaData | None = None) -> Database:
    """Return the database of application `name` (or "accounts") as the settings say; opens nothing.

    With `database.url` it is the schema `name` of that PostgreSQL database, else the file
    `db/<name>.sqlite` under `home`.
    """
    url = settings.database.url
    if url is None:
        return Database(
            URL.create("sqlite", database=str(settings.home / "db" / f"{name}.sqlite")),
            name=name,
            metadata=metadata,
        )
    parsed = normal_url(url)
    if parsed.get_backend_name() == "sqlite":
        raise UsageError("TRILLIUM_DATABASE__URL takes a PostgreSQL address; leave it unset for SQLite files")
    return Database(parsed, schema=name, name=name, metadata=metadata)
