"""Immutable, versioned, checksummed folders: `root/name/version/`."""

import errno
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from shared.artifacts.drafts import discard, new_draft, sweep
from shared.artifacts.files import full_disk_named, sha256_of, sync
from shared.artifacts.manifest import MANIFEST, Manifest, Ref, check_files, check_name, damaged, read_manifest
from shared.artifacts.pointers import Pointers
from shared.clock import Clock, SystemClock
from shared.errors import BadInput, Damaged, NotFound
from shared.telemetry import logger

__all__ = ["Artifact", "ArtifactStore", "Draft", "Manifest", "Ref"]

_LOG = logger(__name__)
# Named here because a class with a method `list` can't write list[...] in its own annotations.
_Artifacts: TypeAlias = "list[Artifact]"
_Refs: TypeAlias = list[Ref]
_Texts: TypeAlias = list[str]
_Numbers: TypeAlias = list[int]
_TAKEN = frozenset({errno.EEXIST, errno.ENOTEMPTY})


@dataclass(frozen=True)
class Artifact:
    """One stored version: a folder that never changes, and its manifest."""

    ref: Ref
    path: Path
    manifest: Manifest
    _open: Callable[[str], "Artifact"] = field(repr=False, compare=False)

    def parent(self, role: str) -> "Artifact":
        """Return the artifact that this one pins as `role`, checked; NotFound names the roles there are."""
        if role not in self.manifest.parents:
            roles = ", ".join(sorted(self.manifest.parents)) or "none"
            raise NotFound(f"artifact {self.ref} has no part {role!r}; its parts: {roles}")
        return self._open(self.manifest.parents[role])

    def verify(self) -> None:
        """Compare every file with its SHA-256; raises Damaged naming the first that differs."""
        check_files(self.path, self.manifest)


@dataclass
class Draft:
    """A folder to fill, and what its manifest shall say; `artifact` is set once the block ended well.

    `recipe_hash` is for those who know it only when the work is done.
    """

    path: Path
    recipe_hash: str | None = None
    metrics: dict[str, Any] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)
    result: Artifact | None = None

    @property
    def artifact(self) -> Artifact:
        """The stored artifact; RuntimeError before the `create` block has ended."""
        if self.result is None:
            raise RuntimeError("a draft becomes an artifact when its block ends")
        return self.result


class ArtifactStore:
    """The artifacts under `root`, one shared volume for all processes."""

    def __init__(self, root: Path, clock: Clock | None = None) -> None:
        self.root = root
        self.pointers = Pointers(root / ".live")
        self._clock: Clock = clock or SystemClock()
        self._checked: dict[Path, tuple[tuple[int, int], ...]] = {}
        self._lock = threading.Lock()

    @contextmanager
    def create(
        self,
        name: str,
        kind: str,
        *,
        parents: Mapping[str, Ref] | None = None,
        recipe_hash: str | None = None,
        data_hash: str | None = None,
    ) -> Iterator[Draft]:
        """Give a folder to fill; it becomes the next version of `name` only if the block ends well.

        Two processes that create at once get different versions. Nothing is left after an error.
        Raises BadInput for a name that is none or a link in the folder, NotFound for a parent that
        isn't there, StorageFull.
        """
        check_name(name)
        for parent in (parents or {}).values():
            self._folder(parent)
        sweep(self.root, self._clock.now())
        with full_disk_named(self.root), new_draft(self.root) as content:
            draft = Draft(content, recipe_hash)
            yield draft
            manifest = Manifest(
                name=name,
                version=1,
                kind=kind,
                created=self._clock.now(),
                parents={role: str(ref) for role, ref in sorted((parents or {}).items())},
                recipe_hash=draft.recipe_hash,
                data_hash=data_hash,
                metrics=draft.metrics,
                extra=draft.extra,
                files=_hash_and_sync(content),
            )
            draft.result = self._place(content, manifest)

    def _place(self, content: Path, manifest: Manifest) -> Artifact:
        shelf = self.root / manifest.name
        shelf.mkdir(parents=True, exist_ok=True)
        while True:
            # A folder can't be renamed onto one that has files, so a version that another process
            # took in the meantime is an error here, and the next one is tried.
            manifest = manifest.model_copy(
                update={"version": max(self._versions(manifest.name), default=0) + 1}
            )
            (content / MANIFEST).write_bytes(manifest.to_bytes())
            sync(content / MANIFEST)
            sync(content)
            target = shelf / str(manifest.version)
            try:
                content.rename(target)
            except OSError as error:
                if error.errno in _TAKEN:
                    continue
                raise
            sync(shelf)
            sync(self.root)
            return Artifact(manifest.ref, target, manifest, self.open)

    def open(self, text: str) -> Artifact:
        """Return an artifact whose files are what was written.

        `text` is `name@version`, an application's name (its live bundle), or any other name (its
        newest version). Checksums are compared the first time that this process opens a folder and
        again when size or time of a file changed. Raises NotFound, Damaged, BadInput, and Conflict
        for an artifact of a newer release.
        """
        if "@" in text:
            ref = Ref.parse(text)
        else:
            found = self.pointers.current(check_name(text)) or self.newest(text)
            if found is None:
                raise NotFound(f"there is no artifact {text!r}; {self._known()}")
            ref = found
        folder = self._folder(ref)
        artifact = Artifact(ref, folder, read_manifest(folder, ref), self.open)
        self._check_once(artifact)
        return artifact

    def _check_once(self, artifact: Artifact) -> None:
        try:
            stats = [(artifact.path / name).stat() for name in artifact.manifest.files]
        except OSError as error:
            name = Path(str(error.filename)).relative_to(artifact.path)
            raise damaged(artifact.ref, f"file {name} is missing") from error
        seen = tuple((stat.st_size, stat.st_mtime_ns) for stat in stats)
        with self._lock:
            if self._checked.get(artifact.path) == seen:
                return
        artifact.verify()
        with self._lock:
            self._checked[artifact.path] = seen

    def list(self, name: str | None = None, kind: str | None = None) -> _Artifacts:
        """Return the artifacts by name, then version; their files are not read.

        One whose manifest can't be read is left out with a warning: it must not hide the others.
        """
        names = [check_name(name)] if name is not None else self._names()
        found = []
        for ref in (Ref(each, version) for each in names for version in self._versions(each)):
            folder = self.root / ref.name / str(ref.version)
            try:
                manifest = read_manifest(folder, ref)
            except Damaged as error:
                _LOG.warning("artifact left out of the list", artifact=str(ref), why=error.detail)
                continue
            if kind is None or manifest.kind == kind:
                found.append(Artifact(ref, folder, manifest, self.open))
        return found

    def newest(self, name: str) -> Ref | None:
        """Return the newest version of `name`, or None."""
        versions = self._versions(check_name(name))
        return Ref(name, versions[-1]) if versions else None

    def prune(self, keep: int) -> _Refs:
        """Remove all but the `keep` newest versions of each name; return what was removed, in order.

        Stays: what a kept one, a live bundle or the last bundles that a rollback can reach have as
        parents, at any depth. Raises BadInput for `keep` below 1, Damaged where a kept manifest
        can't be read (then nothing is removed).
        """
        if keep < 1:
            raise BadInput(f"keep is {keep}; at least the newest version (1) of each name must stay")
        every = [Ref(name, version) for name in self._names() for version in self._versions(name)]
        roots = [ref for ref in every if ref.version in self._versions(ref.name)[-keep:]]
        for app in self.pointers.apps():
            roots += self.pointers.reachable(app)
        staying = self._closure(roots)
        removed = [ref for ref in every if ref not in staying]
        for ref in removed:
            discard(self.root, self.root / ref.name / str(ref.version))
        return removed

    def _closure(self, roots: _Refs) -> set[Ref]:
        seen: set[Ref] = set()
        waiting = [*roots]
        while waiting:
            ref = waiting.pop()
            folder = self.root / ref.name / str(ref.version)
            if ref in seen or not folder.is_dir():
                continue
            seen.add(ref)
            waiting += [Ref.parse(parent) for parent in read_manifest(folder, ref).parents.values()]
        return seen

    def _folder(self, ref: Ref) -> Path:
        folder = self.root / check_name(ref.name) / str(ref.version)
        if not folder.is_dir():
            versions = self._versions(ref.name)
            there = f"there are {ref.name}@{versions[0]} to @{versions[-1]}" if versions else self._known()
            raise NotFound(f"there is no artifact {ref}; {there}")
        return folder

    def _known(self) -> str:
        names = self._names()
        return f"there are: {', '.join(names)}" if names else f"{self.root} holds none yet"

    def _names(self) -> _Texts:
        if not self.root.is_dir():
            return []
        return sorted(path.name for path in self.root.iterdir() if path.name[0] != "." and path.is_dir())

    def _versions(self, name: str) -> _Numbers:
        shelf = self.root / name
        if not shelf.is_dir():
            return []
        return sorted(int(path.name) for path in shelf.iterdir() if path.name.isdecimal() and path.is_dir())


def _hash_and_sync(folder: Path) -> dict[str, str]:
    """Return relative path -> SHA-256 of every file under `folder`, all forced to the disk."""
    files = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            raise BadInput(f"{path.relative_to(folder)} is a link; an artifact holds its files itself")
        if path.is_file():
            files[path.relative_to(folder).as_posix()] = sha256_of(path)
        sync(path)
    files.pop(MANIFEST, None)
    return files
