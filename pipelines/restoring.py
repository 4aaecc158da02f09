"""Restore a backup: checked aside first, then put in place, all of it or nothing."""

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipelines.archive import Contents, unpack
from shared.artifacts.files import full_disk_named
from shared.clock import Clock, SystemClock
from shared.errors import Conflict
from shared.settings import Settings
from shared.storage.dump import check_sqlite, load_postgres, schemas
from shared.storage.engine import database_for

# In this order: with `artifacts` come the live pointers, and services begin to serve.
PARTS = ("db", "artifacts")


def restore(
    settings: Settings, source: Path, *, force: bool = False, clock: Clock | None = None
) -> dict[str, Any]:
    """Restore the backup at `source` into these settings' home and databases; services must be stopped.

    Where there is something already it raises Conflict, or with `force` moves it aside: files to
    `before-TIME` under `home`, a schema to `NAME_before_TIME`. Returns what is back and what moved.
    Raises NotFound, Damaged, StorageFull, Unavailable; then all is as it was.
    """
    home, stamp = settings.home, f"{(clock or SystemClock()).now():%Y%m%dT%H%M%SZ}"
    home.mkdir(parents=True, exist_ok=True)
    stage = home / f".restore-{secrets.token_hex(6)}"
    try:
        with full_disk_named(home):
            contents = unpack(source, stage)
            _check(settings, contents, stage)
            with _files_moved(home, stage, f"before-{stamp}", force) as moved:
                moved += _load(settings, contents, stage / "sql", stamp.lower(), force)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    return {
        "restored": str(source),
        "created": contents.created.isoformat(),
        "databases": contents.names,
        "live": contents.live,
        "moved_aside": moved,
    }


def _check(settings: Settings, contents: Contents, stage: Path) -> None:
    wanted = "postgresql" if settings.database.url else "sqlite"
    if contents.databases != wanted:
        raise Conflict(
            f"the backup holds {contents.databases} databases, the settings name {wanted}; "
            f"{'unset' if wanted == 'postgresql' else 'set'} TRILLIUM_DATABASE__URL"
        )
    if wanted == "sqlite":
        for name in contents.names:
            check_sqlite(stage / "db" / f"{name}.sqlite")


@contextmanager
def _files_moved(home: Path, stage: Path, aside: str, force: bool) -> Iterator[list[str]]:
    """Put the parts in place for the block; if it fails, everything goes back."""
    old = {part: home / aside / part for part in PARTS if _holds(home / part)}
    if old and not force:
        raise Conflict(
            f"{home} is in use ({', '.join(old)}); restore to another TRILLIUM_HOME, or with --force, "
            "which moves what is there aside"
        )
    done: list[tuple[Path, Path]] = []
    try:
        for part in PARTS:
            if part in old:
                old[part].parent.mkdir(exist_ok=True)
                _move(home / part, old[part], done)
            elif (home / part).is_dir():
                shutil.rmtree(home / part)  # folders without a file
            if (stage / part).is_dir():
                _move(stage / part, home / part, done)
        yield [str(path) for path in old.values()]
    except BaseException:
        for source, target in reversed(done):
            target.rename(source)
        if (home / aside).is_dir() and not any((home / aside).iterdir()):
            (home / aside).rmdir()
        raise


def _holds(folder: Path) -> bool:
    return folder.is_file() or any(path.is_file() for path in folder.rglob("*"))


def _move(source: Path, target: Path, done: list[tuple[Path, Path]]) -> None:
    source.rename(target)
    done.append((source, target))


def _load(settings: Settings, contents: Contents, files: Path, stamp: str, force: bool) -> list[str]:
    """Load the PostgreSQL schemas in one transaction; returns what was renamed."""
    if contents.databases != "postgresql" or not contents.names:
        return []
    with database_for(settings, contents.names[0]) as db:
        taken = [name for name in contents.names if name in schemas(db)]
        if taken and not force:
            raise Conflict(
                f"{db.where} has the schemas {', '.join(taken)} already; restore to another database, or "
                "with --force, which renames them"
            )
        renames = [f'ALTER SCHEMA "{name}" RENAME TO "{name}_before_{stamp}"' for name in taken]
        load_postgres(db, [files / f"{name}.sql" for name in contents.names], renames)
    return [f"schema {name}_before_{stamp}" for name in taken]
