"""What every vector index can be relied on for."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from shared.errors import BadInput

FloatArray = NDArray[np.float32]

# A float32 dot product of unit vectors is good to about this; finer differences depend on the order of
# addition inside the CPU, so scores that agree to six decimals count as equal.
DECIMALS = 6


@dataclass(frozen=True)
class Hit:
    """One row near a query: its id and its cosine, -1 to 1, higher is nearer, to six decimals."""

    id: str
    score: float


class VectorIndex(Protocol):
    """Rows of unit vectors under text ids. Safe to search from many threads while one changes it."""

    @property
    def dim(self) -> int:
        """The width of a row."""

    def ids(self) -> list[str]:
        """Return all ids, sorted."""

    def __len__(self) -> int: ...

    def add(self, ids: Sequence[str], vectors: FloatArray) -> None:
        """Put rows in; an id that is there already, or comes twice here, keeps the last row only.

        `vectors` is (len(ids), dim), any length but zero: rows are stored at unit length. Raises
        BadInput (and changes nothing) for another shape, a value that is not finite, a zero row or
        an empty id.
        """

    def remove(self, ids: Collection[str]) -> int:
        """Take rows out; unknown ids are ignored. Returns how many were there."""

    def search(self, queries: FloatArray, k: int, *, allow: Collection[str] | None = None) -> list[list[Hit]]:
        """Return up to k nearest rows per query, nearest first.

        `queries` is (n, dim), any length but zero; result i belongs to query i. Equal scores go by
        id, also at the cut after k. Only ids in `allow` can appear (unknown ones are ignored, an
        empty one gives empty lists), and k counts after that. n = 0 gives []. Raises BadInput for
        another shape, a value that is not finite, a zero row, or k below 1.
        """

    def vectors_of(self, ids: Sequence[str]) -> FloatArray:
        """Return the unit rows of `ids`, (len(ids), dim), in that order; raises NotFound."""

    def save(self, folder: Path, encoder: str, sequence: int) -> None:
        """Write everything into `folder` (made when missing).

        `encoder` is the fingerprint of what made the vectors, `sequence` the number of the last
        change of the source that they contain. Raises StorageFull.
        """


def unit_rows(vectors: FloatArray, dim: int) -> FloatArray:
    """Return a copy of `vectors` (n, dim) with every row at unit length; raises BadInput."""
    rows = np.array(vectors, dtype=np.float32, order="C")
    if rows.ndim != 2 or rows.shape[1] != dim:
        raise BadInput(
            f"vectors of shape {rows.shape} came; (n, {dim}) is needed: were they made by another encoder?"
        )
    finite = np.isfinite(rows).all(axis=1)
    if not finite.all():
        raise BadInput(f"vector {int(np.argmin(finite))} (counted from 0) has a value that is not finite")
    # In float64, and scaled first: squares of very large or small values leave float32.
    wide = rows.astype(np.float64)
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    if (lengths == 0).any():
        raise BadInput(f"vector {int(np.argmin(lengths))} is zero and has no direction; leave its text out")
    return np.ascontiguousarray(wide / lengths, dtype=np.float32)
