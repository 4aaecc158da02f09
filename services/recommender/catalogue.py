"""The items as they are now: a snapshot of vectors, and every later change of the table on top."""

import threading
from collections.abc import Sequence

import numpy as np
from sqlalchemy import select

from services.recommender.candidates import cold_items
from services.recommender.collaborative import ItemMatrix
from services.recommender.domain import FloatArray, Item
from services.recommender.features import Moments
from services.recommender.store import ItemRow, ledger, to_item, vector_cache
from shared.index.vector import VectorIndex
from shared.models.encoder import Encoder
from shared.storage.engine import Database


class Catalogue:
    """Items and their vectors, never behind the table once `catch_up` has returned.

    `names` are the items that may be shown: there and not hidden. `lock` is held by whoever reads
    several parts that must fit together.
    """

    def __init__(self, index: VectorIndex, sequence: int, encoder: Encoder, matrix: ItemMatrix) -> None:
        self.index, self.encoder, self.matrix = index, encoder, matrix
        self.names: dict[str, Item] = {}
        self.known: set[str] = set()
        self.cold: frozenset[str] = frozenset()
        self.moments = Moments.of(np.zeros((0, index.dim), np.float32))
        self.lock = threading.RLock()
        self._snapshot = sequence
        self._changed = 0  # rows since the moments were taken
        self._sequence = -1

    def catch_up(self, db: Database) -> None:
        """Apply the rows that changed since the last time; the first call reads all of them."""
        with self.lock:
            with db.read() as session:
                if self._sequence >= 0 and ledger().head(session) == self._sequence:
                    return
                rows = ledger().changes_since(session, max(self._sequence, 0))
                if self._sequence < 0:
                    self._drop_unlisted(set(session.scalars(select(ItemRow.id))))
            self._apply(db, rows)
            self._sequence = max([self._sequence, 0, *(row.sequence for row in rows)])

    def _drop_unlisted(self, listed: set[str]) -> None:
        self.index.remove([item_id for item_id in self.index.ids() if item_id not in listed])

    def _apply(self, db: Database, rows: Sequence[ItemRow]) -> None:
        there = set(self.index.ids())
        gone = [row.id for row in rows if row.deleted]
        newer = [
            row for row in rows if not row.deleted and (row.sequence > self._snapshot or row.id not in there)
        ]
        if gone:
            self.index.remove(gone)
        if newer:
            self.index.add([row.id for row in newer], encode_rows(db, self.encoder, newer))
        for row in rows:
            self.names.pop(row.id, None)
            if not row.deleted and not to_item(row).hidden:
                self.names[row.id] = to_item(row)
        self._changed += len(rows)
        self._derive()

    def _derive(self) -> None:
        ids = self.index.ids()
        self.known = set(ids)
        shown = {i: int(n) for i, n in zip(self.matrix.ids, self.matrix.events.tolist(), strict=True)}
        self.cold = cold_items(self.known, shown)
        # Mean and spread of a catalogue hardly move with one item, and cost a pass over all vectors.
        if self._sequence < 0 or self._changed * 100 >= len(ids):
            self.moments, self._changed = Moments.of(self.index.vectors_of(ids)), 0


def encode_rows(db: Database, encoder: Encoder, rows: Sequence[ItemRow]) -> FloatArray:
    """Return the vectors (len(rows), dim) of the rows' texts; each text is encoded once per encoder."""
    texts = {row.text_hash: row.text for row in rows}
    with db.read() as session:
        found = vector_cache().get(session, list(texts), encoder.fingerprint)
    missing = [hash_ for hash_ in texts if hash_ not in found]
    if missing:
        fresh = dict(zip(missing, encoder.embed([texts[hash_] for hash_ in missing]), strict=True))
        with db.write() as session:
            vector_cache().put(session, fresh, encoder.fingerprint)
        found |= fresh
    return np.stack([found[row.text_hash] for row in rows]).astype(np.float32)
