"""The documents as they are now: a snapshot of chunk vectors, and every later change of the table on top."""

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from services.support.domain import Asker, Document, FloatArray
from services.support.store import ArticleRow, ledger, to_document, vector_cache
from shared.index.vector import VectorIndex
from shared.models.encoder import Encoder
from shared.storage.documents import text_hash
from shared.storage.engine import Database
from shared.text.chunk import Chunk, chunk


@dataclass(frozen=True)
class Snapshot:
    """What an index artifact contains: changes up to `sequence` of the table `ledger`."""

    sequence: int
    ledger: str


class Knowledge:
    """Documents and their chunks' vectors, never behind the table once `catch_up` has returned.

    `lock` is held by whoever reads several parts that must fit together.
    """

    def __init__(self, index: VectorIndex, snapshot: Snapshot, encoder: Encoder) -> None:
        self.index, self.encoder = index, encoder
        self.documents: dict[str, Document] = {}
        self.chunks: dict[str, tuple[str, Chunk]] = {}  # chunk id -> (document id, chunk)
        self.restricted = False
        self.lock = threading.RLock()
        self._snapshot = snapshot
        self._sequence = -1

    def catch_up(self, db: Database) -> None:
        """Apply the rows that changed since the last time; the first call reads all of them."""
        with self.lock:
            with db.read() as session:
                if self._sequence >= 0 and ledger().head(session) == self._sequence:
                    return
                rows = ledger().changes_since(session, max(self._sequence, 0))
                # Numbers of another table say nothing about this one: then every row is newer.
                same = ledger().identity(session) == self._snapshot.ledger
            known = self._snapshot.sequence if same else 0
            if self._sequence < 0:
                self._forget_unlisted(rows)
            self._apply(db, rows, known)
            self._sequence = max([self._sequence, 0, *(row.sequence for row in rows)])

    def allowed(self, asker: Asker) -> list[str] | None:
        """Return the ids of the chunks that `asker` may see, or None for all of them."""
        if not self.restricted:
            return None
        seen = {name for name, document in self.documents.items() if document.visible_to(asker)}
        return [chunk_id for chunk_id, (document_id, _) in self.chunks.items() if document_id in seen]

    def _forget_unlisted(self, rows: Sequence[ArticleRow]) -> None:
        listed = {row.id for row in rows if not row.deleted}
        self.index.remove([name for name in self.index.ids() if document_of(name) not in listed])

    def _apply(self, db: Database, rows: Sequence[ArticleRow], known: int) -> None:
        newer: dict[str, Chunk] = {}
        held = _by_document(self.index.ids())
        listed = _by_document(self.chunks)
        for row in rows:
            self.documents.pop(row.id, None)
            for name in listed.get(row.id, ()):
                del self.chunks[name]
            there = held.get(row.id, set())
            if row.deleted:
                self.index.remove(there)
                continue
            document = to_document(row)
            self.documents[row.id] = document
            pieces = {chunk_id(row.id, one): one for one in chunk(document.title, document.text)}
            self.chunks |= {name: (row.id, one) for name, one in pieces.items()}
            if row.sequence > known or there != set(pieces):
                self.index.remove(there)
                newer |= pieces
        if newer:
            self.index.add(list(newer), encode_chunks(db, self.encoder, list(newer.values())))
        self.restricted = any(document.groups for document in self.documents.values())


def chunk_id(document_id: str, piece: Chunk) -> str:
    """Return the id of a chunk: the document's, `#`, and the chunk's number."""
    return f"{document_id}#{piece.id_suffix}"


def document_of(name: str) -> str:
    """Return the document that the chunk `name` belongs to."""
    return name.rpartition("#")[0]


def _by_document(names: Iterable[str]) -> dict[str, set[str]]:
    groups: dict[str, set[str]] = {}
    for name in names:
        groups.setdefault(document_of(name), set()).add(name)
    return groups


def encode_chunks(db: Database, encoder: Encoder, pieces: Sequence[Chunk]) -> FloatArray:
    """Return the vectors (len(pieces), dim) of the chunks; each text is encoded once per encoder."""
    hashes = [text_hash(piece.text) for piece in pieces]
    texts = dict(zip(hashes, (piece.text for piece in pieces), strict=True))
    with db.read() as session:
        found = vector_cache().get(session, list(texts), encoder.fingerprint)
    missing = [key for key in texts if key not in found]
    if missing:
        fresh = dict(zip(missing, encoder.embed([texts[key] for key in missing]), strict=True))
        with db.write() as session:
            vector_cache().put(session, fresh, encoder.fingerprint)
        found |= fresh
    return np.stack([found[key] for key in hashes]).astype(np.float32)
