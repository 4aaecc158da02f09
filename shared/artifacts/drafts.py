"""Folders that are being written or removed: aside, in the same filesystem, never seen by a reader."""

import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

FOLDER = ".drafts"
_PREFIX = "draft-"
_LOCK = "lock"
# A draft without a living writer is a leftover. The lock tells that on one machine; on a shared
# volume whose locks do not reach other machines the age does.
LEFTOVER_AFTER = timedelta(hours=24)


@contextmanager
def new_draft(root: Path) -> Iterator[Path]:
    """Give an empty folder under `root/.drafts`, held by a lock; whatever is still in it goes at the end."""
    home = root / FOLDER / f"{_PREFIX}{secrets.token_hex(8)}"
    content = home / "content"
    content.mkdir(parents=True)
    handle = os.open(home / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield content
    finally:
        os.close(handle)
        shutil.rmtree(home, ignore_errors=True)


def discard(root: Path, folder: Path) -> None:
    """Remove `folder` so that no reader ever sees half of it: renamed aside first."""
    with new_draft(root) as content:
        folder.rename(content / "removed")


def sweep(root: Path, now: datetime) -> None:
    """Remove leftovers of killed writers: own names only, older than a day, locked by nobody."""
    for home in sorted((root / FOLDER).glob(f"{_PREFIX}*")):
        if _newest_change(home) < now - LEFTOVER_AFTER and _abandoned(home):
            shutil.rmtree(home, ignore_errors=True)


def _newest_change(home: Path) -> datetime:
    try:
        newest = max(path.lstat().st_mtime for path in (home, *home.rglob("*")))
    except FileNotFoundError:  # it goes at this moment, so its writer has just finished
        return datetime.max.replace(tzinfo=UTC)
    return datetime.fromtimestamp(newest, UTC)


def _abandoned(home: Path) -> bool:
    try:
        handle = os.open(home / _LOCK, os.O_RDWR)
    except FileNotFoundError:
        return True  # killed between making the folder and its lock
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False
    finally:
        os.close(handle)
