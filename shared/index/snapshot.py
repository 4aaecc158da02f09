"""The files of a saved index: `vectors.faiss`, `ids.json` and `meta.json` with their checksums."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from shared.artifacts.files import write_aside
from shared.errors import Conflict, Damaged

FORMAT = 1
META, IDS, VECTORS = "meta.json", "ids.json", "vectors.faiss"


class IndexMeta(BaseModel):
    """What a saved index is.

    `encoder` is the fingerprint of what made its vectors, `sequence` the number of the last change
    of the source that it contains. `sha256` maps file to checksum; `seal` is that of all the rest.
    """

    model_config = ConfigDict(frozen=True)

    format: int = FORMAT
    kind: str
    encoder: str
    sequence: int
    dim: int
    count: int
    sha256: dict[str, str] = {}
    seal: str = ""

    def sealed(self) -> "IndexMeta":
        """Return a copy whose `seal` fits the rest."""
        return self.model_copy(update={"seal": self._digest()})

    def _digest(self) -> str:
        rest = json.dumps(self.model_dump(exclude={"seal"}), sort_keys=True)
        return hashlib.sha256(rest.encode()).hexdigest()

    def holds(self) -> bool:
        """Whether nothing was changed since it was sealed."""
        return self.seal == self._digest()


def write(folder: Path, meta: IndexMeta, ids: Sequence[str], body: bytes) -> None:
    """Write the three files, `meta.json` last: without it the folder holds no index. StorageFull."""
    files = {IDS: json.dumps(list(ids), ensure_ascii=False).encode(), VECTORS: body}
    (folder / META).unlink(missing_ok=True)
    for name, content in files.items():
        write_aside(folder / name, content)
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    sealed = meta.model_copy(update={"sha256": sums}).sealed()
    write_aside(folder / META, sealed.model_dump_json(indent=1).encode())


def read(folder: Path, kind: str, encoder: str) -> tuple[IndexMeta, list[str], bytes]:
    """Return what was written: meta, ids in row order, and the FAISS bytes.

    The bytes that were checked are the bytes returned: FAISS itself loads most damaged files
    without a word. Raises Damaged; Conflict for another encoder, kind or a newer format.
    """
    with damage_named(folder):
        meta = IndexMeta.model_validate_json((folder / META).read_bytes())
        if meta.format > FORMAT:
            raise Conflict(
                f"index {folder} has format {meta.format}, this release reads {FORMAT}: upgrade trillium"
            )
        if not meta.holds():
            raise ValueError(f"{META} is not what was written")
        files = {name: (folder / name).read_bytes() for name in (IDS, VECTORS)}
        for name, content in files.items():
            if hashlib.sha256(content).hexdigest() != meta.sha256.get(name):
                raise ValueError(f"{name} is not what was written (its SHA-256 differs)")
        ids: list[str] = json.loads(files[IDS])
    if meta.kind != kind:
        raise Conflict(
            f"index {folder} is of kind {meta.kind}, not {kind}; build it again with `trillium index`"
        )
    if meta.encoder != encoder:
        raise Conflict(
            f"index {folder} was made by encoder {meta.encoder}, this one is {encoder}: their "
            "vectors can't be compared; build it again with `trillium index`"
        )
    return meta, ids, files[VECTORS]


@contextmanager
def damage_named(folder: Path) -> Iterator[None]:
    """Turn whatever goes wrong while a saved index is read into Damaged naming the folder."""
    try:
        yield
    except (OSError, ValueError, TypeError, RuntimeError, RecursionError) as error:
        raise Damaged(
            f"index {folder} is damaged: {error}; build it again with `trillium index`, or go back with "
            "`trillium rollback`"
        ) from error
