"""What a database says, as an error that tells what to do."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from shared.errors import BadInput, Conflict, Damaged, StorageFull, TrilliumError, Unavailable

_FULL = "the disk or the database at {where} is full; what was there is intact. Free space, then try again"
_BUSY = "the database at {where} is busy with other writers; try again in a moment"
_NO_TABLES = "the database at {where} lacks tables of this version; run `trillium migrate`"
_UNREACHABLE = (
    "the database at {where} can't be reached: {why}. Start it, or correct TRILLIUM_DATABASE__URL "
    "(unset, SQLite files are used)"
)
_UNWRITABLE = "the database at {where} can't be opened: {why}. Check that its folder is there and writable"

# A write over a quota or a file-size limit is an I/O error to SQLite, not SQLITE_FULL (os_unix.c, unixWrite).
SQLITE_FULL = ("SQLITE_FULL", "SQLITE_IOERR_WRITE", "SQLITE_IOERR_SHMSIZE", "SQLITE_IOERR_FSYNC")
_POSTGRES_FULL = ("53100", "54000")
_POSTGRES_BUSY = ("40001", "40P01", "55P03", "57014", "53300")


def _sqlite(code: str, why: str, where: str) -> TrilliumError | None:
    if code.startswith(SQLITE_FULL):
        return StorageFull(_FULL.format(where=where))
    if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return Unavailable(_BUSY.format(where=where), retry_after=1)
    if code.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return Damaged(f"the database at {where} is damaged: {why}. Restore a backup with `trillium restore`")
    if code.startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_IOERR", "SQLITE_PERM")):
        return Unavailable(_UNWRITABLE.format(where=where, why=why))
    if why.startswith("no such table") or why.startswith("no such column"):
        return Conflict(_NO_TABLES.format(where=where))
    return None


def _postgres(state: str | None, why: str, where: str, *, lost: bool) -> TrilliumError | None:
    if state in _POSTGRES_FULL:
        return StorageFull(_FULL.format(where=where))
    if state in _POSTGRES_BUSY:
        return Unavailable(_BUSY.format(where=where), retry_after=1)
    if state in ("42P01", "42703", "3F000"):
        return Conflict(_NO_TABLES.format(where=where))
    if lost or state is None or state[:2] in ("08", "57", "28", "3D", "53"):
        return Unavailable(_UNREACHABLE.format(where=where, why=why), retry_after=5)
    return None


def translated(error: DBAPIError, where: str) -> TrilliumError | None:
    """Return what `error` means to a person, or None when it is a fault of the program.

    `where` names the database without its password.
    """
    if isinstance(error, IntegrityError):
        return None
    origin = error.orig
    why = (str(origin).strip().splitlines() or [type(origin).__name__])[0]
    if isinstance(error, DataError):
        return BadInput(f"the database can't keep a value: {why}; correct it")
    code = getattr(origin, "sqlite_errorname", None)
    if code is not None:
        return _sqlite(code, why, where)
    if type(origin).__module__.startswith("psycopg"):
        state = getattr(origin, "sqlstate", None)
        if state is None and not isinstance(error, OperationalError):
            return None
        return _postgres(state, why, where, lost=error.connection_invalidated)
    return None


@contextmanager
def explained(where: str) -> Iterator[None]:
    """Raise StorageFull, Unavailable, Conflict or Damaged for what goes wrong in the database inside."""
    try:
        yield
    except DBAPIError as error:
        meaning = translated(error, where)
        if meaning is None:
            raise
        raise meaning from error
    except PoolTimeout as error:
        raise Unavailable(_BUSY.format(where=where), retry_after=1) from error
