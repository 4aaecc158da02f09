"""The vector cache: a text is encoded once per encoder."""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import LargeBinary, String, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from shared.storage.rows import in_batches, insert_missing

FloatArray: TypeAlias = NDArray[np.float32]


class VectorRow:
    """Mixin of a cache table: the vector of a text (by its SHA-256) from one encoder (by its fingerprint)."""

    text_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    fingerprint: Mapped[str] = mapped_column(String(200), primary_key=True)
    vector: Mapped[bytes] = mapped_column(LargeBinary)  # little-endian float32


class VectorCache:
    """Reads and writes of one cache table, inside the caller's session."""

    def __init__(self, model: type[VectorRow]) -> None:
        self.model = model

    def get(self, session: Session, hashes: Sequence[str], fingerprint: str) -> dict[str, FloatArray]:
        """Return the vectors at hand, each of shape (dim,), by text hash."""
        model, found = self.model, dict[str, FloatArray]()
        for batch in in_batches(list(dict.fromkeys(hashes))):
            query = select(model.text_hash, model.vector).where(
                model.fingerprint == fingerprint, model.text_hash.in_(batch)
            )
            for hash_, blob in session.execute(query):
                found[hash_] = np.frombuffer(blob, dtype="<f4").astype(np.float32)
        return found

    def put(self, session: Session, vectors: Mapping[str, FloatArray], fingerprint: str) -> int:
        """Keep these vectors by text hash; one that is there stays. Returns how many are new."""
        rows = [
            {"text_hash": hash_, "fingerprint": fingerprint, "vector": np.asarray(v, dtype="<f4").tobytes()}
            for hash_, v in vectors.items()
        ]
        return insert_missing(session, self.model, rows)
