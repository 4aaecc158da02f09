"""Schemas through the releases: who has revisions, what a database is at, and bringing it up."""

import importlib.util
import threading
import zlib
from dataclasses import dataclass
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy import Connection, inspect, text
from sqlalchemy.schema import CreateSchema

import shared.storage.alembic_env as alembic_env
from shared.errors import Conflict, NotFound
from shared.settings import Settings, find_apps
from shared.storage.engine import ACCOUNTS, Database, database_for
from shared.storage.failures import explained


@dataclass(frozen=True)
class Migrated:
    """One database after `migrate`: its revision before (None: it was new) and now."""

    name: str
    where: str
    before: str | None
    now: str


def package_of(name: str) -> str:
    """Return the package with the revisions of database `name`."""
    return "shared.web.migrations" if name == ACCOUNTS else f"services.{name}.migrations"


def _folder(name: str) -> Path | None:
    try:
        spec = importlib.util.find_spec(package_of(name))
    except ModuleNotFoundError:  # raised for the package above, None only for the last part
        spec = None
    places = list(spec.submodule_search_locations or []) if spec else []
    return Path(places[0]) / "versions" if places else None


def targets() -> list[str]:
    """Return the names of the databases there are: "accounts", then each application with revisions."""
    folders = {app: _folder(app) for app in find_apps()}
    return [ACCOUNTS, *(app for app, folder in folders.items() if folder and any(folder.glob("r*.py")))]


def config_for(db: Database, folder: Path | None = None) -> Config:
    """Return Alembic's configuration for `db`; raises NotFound when nobody has revisions for it.

    `folder` holds the revisions, by default those of the application that `db` is named after.
    """
    folder = folder or _folder(db.name)
    if folder is None:
        raise NotFound(f"{package_of(db.name)} has no revisions; databases are: {', '.join(targets())}")
    config = Config()
    home = Path(alembic_env.__file__).parent
    for option, path in (("script_location", home), ("version_locations", folder)):
        config.set_main_option(option, str(path).replace("%", "%%"))
    config.set_main_option("file_template", "r%%(rev)s_%%(slug)s")  # a module's name begins with a letter
    config.set_main_option("path_separator", "newline")  # a path may hold spaces and colons
    config.attributes.update(metadata=db.metadata, schema=db.schema)
    return config


def head_of(db: Database, folder: Path | None = None) -> str:
    """Return the newest revision that this code knows for `db`."""
    head = ScriptDirectory.from_config(config_for(db, folder)).get_current_head()
    if head is None:
        raise NotFound(f"{package_of(db.name)}/versions is empty; add the first revision")
    return head


def _revision(connection: Connection, db: Database) -> str | None:
    options = {"version_table_schema": db.schema}
    return MigrationContext.configure(connection, opts=options).get_current_revision()


def _tables(connection: Connection, db: Database) -> list[str]:
    return inspect(connection).get_table_names(schema=db.schema)


def _newer(db: Database, found: str) -> Conflict:
    return Conflict(
        f"the database at {db.where} is at revision {found}, which this version does not know: a newer "
        "version wrote it. Install that version again, or restore a backup"
    )


def upgrade(db: Database, *, folder: Path | None = None) -> Migrated:
    """Bring `db` to the newest revision, in one transaction; a missing one is created.

    Raises Conflict when a newer version of the program has written it, or when it holds tables
    of something else.
    """
    config, head = config_for(db, folder), head_of(db, folder)
    with explained(db.where), db.engine.begin() as connection:
        _alone(connection, db)
        before = _revision(connection, db)
        if before is None and _tables(connection, db):
            raise Conflict(f"{db.where} holds tables that are not ours; name an empty database or schema")
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise _newer(db, str(before)) from error
    return Migrated(db.name, db.where, before, head)


def _alone(connection: Connection, db: Database) -> None:
    # SQLite's transaction is the only writer already. Two servers that start together must wait here.
    if not db.is_sqlite:
        key = zlib.crc32(f"trillium migrate {db.schema}".encode())
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": key})
        if db.schema and db.schema not in inspect(connection).get_schema_names():
            connection.execute(CreateSchema(db.schema))


def open_checked(db: Database, *, folder: Path | None = None) -> Database:
    """Return `db` after its schema was checked; it stays the caller's to close.

    A SQLite database that is not there is created at the newest revision. Raises Conflict for an
    older schema (and for a PostgreSQL one that is not there) naming the command, and for a newer one.
    """
    head = head_of(db, folder)
    with explained(db.where), db.engine.connect() as connection:
        found = _revision(connection, db)
        empty = found is None and not _tables(connection, db)
    if found == head:
        return db
    if empty and db.is_sqlite:
        upgrade(db, folder=folder)
        return db
    if found is not None and not _knows(config_for(db, folder), found):
        raise _newer(db, found)
    raise Conflict(
        f"the database at {db.where} has {'no schema' if found is None else f'the older schema {found}'} "
        f"for {db.name}; this version needs {head}. Back it up, then run `trillium migrate`"
    )


def _knows(config: Config, revision: str) -> bool:
    scripts = ScriptDirectory.from_config(config).walk_revisions()
    return any(script.revision == revision for script in scripts)


class CheckedAtFirstUse:
    """A database whose schema is checked once, when it is first asked for. Safe to share between threads."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._checked = False
        self._lock = threading.Lock()

    def get(self) -> Database:
        """Return the database; raises what `open_checked` does, again at each try until it is well."""
        with self._lock:
            if not self._checked:
                open_checked(self._db)
                self._checked = True
        return self._db


def migrate(settings: Settings) -> list[Migrated]:
    """Bring every database of these settings to the newest revision; returns one line for each."""
    done = []
    for name in targets():
        with database_for(settings, name) as db:
            done.append(upgrade(db))
    return done
