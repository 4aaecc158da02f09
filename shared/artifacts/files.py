"""Write files so that a kill or a full disk leaves the old content or the new one, never a mixture."""

import errno
import fcntl
import hashlib
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from shared.errors import StorageFull

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@contextmanager
def full_disk_named(where: Path) -> Iterator[None]:
    """Turn "no space", "over quota" and "over the file-size limit" into StorageFull naming `where`."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise StorageFull(
            f"no room left to write {where} ({error.strerror}); free some space "
            "(`trillium artifacts prune --keep N` removes old versions) and run it again; nothing was changed"
        ) from error


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync(path: Path) -> None:
    """Force a file's or folder's content to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_aside(path: Path, content: bytes) -> None:
    """Replace `path` by `content` in one step; its folder is made. Raises StorageFull."""
    with full_disk_named(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
        try:
            with aside.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(path)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise
        sync(path.parent)


def write_json(path: Path, content: Any, *, indent: int | None = None) -> None:
    """Replace `path` by `content` as JSON, as `write_aside` does."""
    write_aside(path, json.dumps(content, ensure_ascii=False, indent=indent).encode())


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path` alone, among all processes of this machine; waits for it."""
    with full_disk_named(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)  # gives the lock back
