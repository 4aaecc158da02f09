"""Write files so that a kill or a full disk leaves the old content or the new one, never a mixture."""

import errno
import fcntl
import hashlib
import json
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from shared.errors import StorageFull

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_TOLD = re.compile(r"\(os error (\d+)\)")
_TORCH = re.compile(r"PytorchStreamWriter failed writing file|inline_container\.cc.*unexpected pos")


@contextmanager
def full_disk_named(where: Path) -> Iterator[None]:
    """Turn "no space", "over quota" and "over the file-size limit" into StorageFull naming `where`, also
    where a library tells of them in a text of its own."""
    try:
        yield
    except Exception as error:
        why = _full(error)
        if why is None:
            raise
        raise StorageFull(
            f"no room left to write {where} ({why}); free some space "
            "(`trillium artifacts prune --keep N` removes old versions) and run it again; nothing was changed"
        ) from error


def _full(error: Exception) -> str | None:
    """Return what the system said of a full disk, None for any other error."""
    number = error.errno if isinstance(error, OSError) else None
    told = _TOLD.search(str(error)) if number is None else None
    if told:  # libraries written in Rust
        number = int(told[1])
    if number in _FULL:
        return os.strerror(number)
    # torch says neither why nor with a number; what else keeps a file from being written is not worth a guess
    return "a file could not be written to its end" if _TORCH.search(str(error)) else None


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
