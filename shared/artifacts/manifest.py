"""What an artifact is: its reference, its manifest, and the check of its files."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import BaseModel, ValidationError, field_validator

from shared.artifacts.files import sha256_of
from shared.errors import BadInput, Conflict, Damaged

FORMAT = 1
MANIFEST = "manifest.json"
ASKED = "asked_recipe_hash"  # in `extra` of models that `trillium finetune` made
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_REF = re.compile(r"([a-z0-9][a-z0-9_-]{0,63})@([1-9][0-9]{0,8})")


def check_name(name: str) -> str:
    """Return `name`, or raise BadInput: it becomes a folder, so dots and slashes can't be in it."""
    if not _NAME.fullmatch(name):
        raise BadInput(
            f"{name!r} is no artifact name; use 1 to 64 of a-z, 0-9, - and _, starting with a letter or digit"
        )
    return name


@dataclass(frozen=True)
class Ref:
    """One version of a named artifact, written `name@version`; versions count from 1."""

    name: str
    version: int

    def __str__(self) -> str:
        return f"{self.name}@{self.version}"

    @classmethod
    def parse(cls, text: str) -> "Ref":
        """Return the reference that `text` (`name@version`) writes; raises BadInput."""
        match = _REF.fullmatch(text)
        if not match:
            raise BadInput(f"{text!r} is no artifact; write NAME@VERSION, such as support@3")
        return cls(match[1], int(match[2]))


class Manifest(BaseModel):
    """The file `manifest.json` of an artifact.

    `parents` maps a role to `name@version`; `files` maps a relative path to its SHA-256 and lists
    every file but the manifest itself; `created` is aware, in UTC.
    """

    format: int = FORMAT
    name: str
    version: int
    kind: str
    created: datetime
    parents: dict[str, str] = {}
    recipe_hash: str | None = None
    data_hash: str | None = None
    metrics: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    files: dict[str, str] = {}

    @field_validator("files")
    @classmethod
    def _inside(cls, files: dict[str, str]) -> dict[str, str]:
        for name in files:
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts or "\\" in name:
                raise ValueError(f"file {name!r} lies outside the artifact")
        return files

    @property
    def ref(self) -> Ref:
        """The artifact's own reference."""
        return Ref(self.name, self.version)

    def to_bytes(self) -> bytes:
        """Return the JSON text that is stored; a figure that is not a number or not finite becomes null."""
        return json.dumps(
            self.model_dump(mode="json"), indent=1, ensure_ascii=False, allow_nan=False
        ).encode()


def damaged(ref: object, what: str) -> Damaged:
    """Return the error for an artifact that is not what was written, with what to do."""
    return Damaged(
        f"artifact {ref} is damaged: {what}; restore it from a backup (`trillium restore`), go back with "
        "`trillium rollback APP`, or build a new one with `trillium train` or `trillium index`"
    )


def read_manifest(folder: Path, ref: Ref) -> Manifest:
    """Return the manifest in `folder`; raises Damaged, or Conflict where a newer release wrote it."""
    path = folder / MANIFEST
    try:
        raw = json.loads(path.read_bytes())
        if not isinstance(raw, Mapping):
            raise ValueError("no JSON object")
        written = raw.get("format")
        if isinstance(written, int) and written > FORMAT:
            raise Conflict(
                f"artifact {ref} has format {written}, this release reads up to {FORMAT}; "
                "upgrade trillium, or open an older version of it"
            )
        manifest = Manifest.model_validate(raw)
    except (OSError, ValueError, RecursionError) as error:  # ValidationError is a ValueError
        first = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
        raise damaged(ref, f"{MANIFEST} can't be read ({first})") from error
    if manifest.ref != ref:
        raise damaged(ref, f"{MANIFEST} says that it is {manifest.ref}")
    return manifest


def check_files(folder: Path, manifest: Manifest) -> None:
    """Compare every listed file with its SHA-256; raises Damaged naming the first that differs."""
    for name, expected in manifest.files.items():
        path = folder / name
        if not path.is_file() or path.is_symlink():
            raise damaged(manifest.ref, f"file {name} is missing")
        try:
            found = sha256_of(path)
        except OSError as error:
            raise damaged(manifest.ref, f"file {name} can't be read ({error})") from error
        if found != expected:
            raise damaged(manifest.ref, f"file {name} is not what was written (its SHA-256 differs)")
