"""Backups: databases, live pointers and the artifacts that they reach, in one file or folder."""

import secrets
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, ValidationError

from shared.artifacts.files import full_disk_named, sha256_of, sync
from shared.artifacts.manifest import MANIFEST, Ref, check_files
from shared.artifacts.store import ArtifactStore
from shared.clock import Clock, SystemClock
from shared.errors import Conflict, Damaged, NotFound
from shared.settings import Settings
from shared.storage.dump import copy_sqlite, dump_postgres, schemas
from shared.storage.engine import ACCOUNTS, database_for
from shared.storage.migrate import targets

CONTENTS = "backup.json"
FORMAT = 1
_TAR = (".tar.gz", ".tgz")


class Contents(BaseModel):
    """What a backup holds: `files` maps relative paths to their SHA-256."""

    format: int = FORMAT
    created: datetime
    databases: Literal["sqlite", "postgresql"]
    names: list[Annotated[str, Field(pattern="^[a-z][a-z0-9_]*$")]]
    artifacts: list[str]
    live: dict[str, str]
    files: dict[str, str]


def backup(settings: Settings, target: Path, clock: Clock | None = None) -> dict[str, Any]:
    """Write a backup to `target`: a .tar.gz or .tgz file, else a folder; it must be new.

    Services may go on. Pointers and artifacts are copied before the databases, so that no index
    knows of a document that its database has not. Sessions' secret, bases and logs are left out.
    Returns what it holds. Raises Conflict for a target that is there, Damaged for an artifact that
    is not what was written, StorageFull; nothing is left after an error.
    """
    if target.exists() and (target.is_file() or any(target.iterdir())):
        raise Conflict(f"{target} is there already; name a new file (.tar.gz) or folder")
    with full_disk_named(target), _aside(target) as stage:
        live = _copy_artifacts(ArtifactStore(settings.home / "artifacts"), stage / "artifacts")
        names = _copy_databases(settings, stage)
        contents = Contents(
            created=(clock or SystemClock()).now(),
            databases="postgresql" if settings.database.url else "sqlite",
            names=names,
            artifacts=_refs(stage / "artifacts"),
            live=live,
            files=_hashes(stage),
        )
        (stage / CONTENTS).write_text(contents.model_dump_json(indent=1), "utf-8")
        _place(stage, target)
    return {"backup": str(target), **contents.model_dump(mode="json", exclude={"files", "format"})}


@contextmanager
def _aside(target: Path) -> Iterator[Path]:
    target.parent.mkdir(parents=True, exist_ok=True)
    stage = target.parent / f".{target.name}.{secrets.token_hex(6)}"
    stage.mkdir(mode=0o700)  # a backup holds password hashes
    try:
        yield stage
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _copy_artifacts(store: ArtifactStore, target: Path) -> dict[str, str]:
    """Copy what rollback can reach, and the pointers; returns application -> live bundle."""
    live, waiting = dict[str, str](), list[Ref]()
    (target / ".live").mkdir(parents=True)
    for app in store.pointers.apps():
        shutil.copyfile(store.pointers.path(app), target / ".live" / f"{app}.json")
        reachable = store.pointers.reachable(app)
        waiting += reachable
        live[app] = str(reachable[-1])
    while waiting:
        ref = waiting.pop()
        copy = target / ref.name / str(ref.version)
        if copy.exists():
            continue
        artifact = store.open(str(ref))
        shutil.copytree(artifact.path, copy)
        check_files(copy, artifact.manifest)
        waiting += [Ref.parse(parent) for parent in artifact.manifest.parents.values()]
    return live


def _copy_databases(settings: Settings, stage: Path) -> list[str]:
    if settings.database.url is None:
        files = sorted((settings.home / "db").glob("*.sqlite"))
        (stage / "db").mkdir()
        for file in files:
            copy_sqlite(file, stage / "db" / file.name)
        return [file.stem for file in files]
    with database_for(settings, ACCOUNTS) as db:
        there = schemas(db)
    names = [name for name in targets() if name in there]
    (stage / "sql").mkdir()
    for name in names:
        with database_for(settings, name) as db:
            dump_postgres(db, stage / "sql" / f"{name}.sql")
    return names


def _refs(artifacts: Path) -> list[str]:
    return sorted(
        f"{path.parent.parent.name}@{path.parent.name}" for path in artifacts.glob(f"*/*/{MANIFEST}")
    )


def _hashes(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): sha256_of(path) for path in files}


def _place(stage: Path, target: Path) -> None:
    if not target.name.endswith(_TAR):
        for path in stage.rglob("*"):
            sync(path)
        sync(stage)
        stage.rename(target)
        return
    packed = stage.with_name(f"{stage.name}.packed")
    try:
        with packed.open("xb") as file:
            packed.chmod(0o600)
            # Level 1: weights hardly shrink, and the higher levels take ten times as long.
            with tarfile.open(fileobj=file, mode="w:gz", compresslevel=1) as archive:
                archive.add(stage, arcname=".")
        sync(packed)
        packed.rename(target)
    finally:
        packed.unlink(missing_ok=True)


def unpack(source: Path, stage: Path) -> Contents:
    """Put the files of a backup into the new folder `stage`, and compare each with its checksum.

    Raises NotFound, and Damaged for a file that is missing, differs or was never part of it.
    """
    if not source.exists():
        raise NotFound(f"there is no backup at {source}")
    if source.is_dir():
        shutil.copytree(source, stage)
    else:
        stage.mkdir(mode=0o700)
        try:
            with tarfile.open(source, "r:gz") as archive:
                archive.extractall(stage, filter="data")  # refuses links and paths that lead outside
        except (tarfile.TarError, EOFError, ValueError, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise Damaged(f"{source} is no whole backup: {error}; take another one") from error
    return _checked(source, stage)


def _checked(source: Path, stage: Path) -> Contents:
    try:
        contents = Contents.model_validate_json((stage / CONTENTS).read_bytes())
    except (OSError, ValidationError) as error:
        raise Damaged(f"{source} holds no readable {CONTENTS}; it is no backup of ours") from error
    if contents.format > FORMAT:
        raise Conflict(
            f"{source} has format {contents.format}, this version reads {FORMAT}: upgrade trillium"
        )
    (stage / CONTENTS).unlink()
    found = _hashes(stage)
    for name in sorted(contents.files.keys() | found.keys()):
        if contents.files.get(name) != found.get(name):
            raise Damaged(
                f"{source}: {name} is not what was written (its SHA-256 differs); take another backup"
            )
    return contents
