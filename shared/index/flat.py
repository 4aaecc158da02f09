"""Exact search by cosine over all rows, with FAISS; up to about 100,000 rows it is also fast."""

import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import faiss as _typed_faiss
import numpy as np
from numpy.typing import NDArray

from shared.errors import BadInput, NotFound
from shared.index import snapshot
from shared.index.guard import Guard
from shared.index.snapshot import IndexMeta
from shared.index.vector import DECIMALS, FloatArray, Hit, unit_rows

# Its annotations are those of the C++ layer; the Python layer over it takes arrays.
faiss: Any = _typed_faiss
KIND = "flat"
# One query on one thread takes .3 ms at 10,000 rows of 384; on two threads of a busy machine, 16 ms.
_FEW = 16


class FlatIndex:
    """A `VectorIndex` that compares with every row.

    The ids live here, not in FAISS: its flat index moves the rows behind a removed one, and its id
    maps keep both rows of an id added twice. Row i belongs to `self._ids[i]`, always.
    """

    def __init__(self, dim: int) -> None:
        if dim < 1:
            raise BadInput(f"an index of width {dim} can't be; the width is that of the encoder")
        self._dim = dim
        self._index: Any = faiss.IndexFlatIP(dim)
        self._ids: list[str] = []
        self._row: dict[str, int] = {}
        self._guard = Guard()

    @property
    def dim(self) -> int:
        """The width of a row."""
        return self._dim

    def __len__(self) -> int:
        return len(self._ids)

    def ids(self) -> list[str]:
        """Return all ids, sorted."""
        with self._guard.reading():
            return sorted(self._ids)

    def add(self, ids: Sequence[str], vectors: FloatArray) -> None:
        """Put rows in or over those of the same id; see `VectorIndex.add`."""
        rows = unit_rows(vectors, self._dim)
        if len(ids) != len(rows):
            raise BadInput(f"{len(ids)} ids came with {len(rows)} vectors; each row needs its id")
        if not all(ids):
            raise BadInput("an id is empty; every row needs one")
        last = {name: i for i, name in enumerate(ids)}
        with self._guard.writing():
            new = [name for name in last if name not in self._row]
            known = [name for name in last if name in self._row]
            if known:
                self._rows()[[self._row[name] for name in known]] = rows[[last[name] for name in known]]
            if new:
                self._index.add(rows[[last[name] for name in new]])
                self._row.update(zip(new, range(len(self._ids), len(self._ids) + len(new)), strict=True))
                self._ids += new

    def remove(self, ids: Collection[str]) -> int:
        """Take rows out; see `VectorIndex.remove`. One pass over the index, however many ids."""
        with self._guard.writing():
            gone = {self._row[name] for name in ids if name in self._row}
            if gone:
                self._index.remove_ids(np.fromiter(gone, dtype=np.int64, count=len(gone)))
                self._ids = [name for row, name in enumerate(self._ids) if row not in gone]
                self._row = {name: row for row, name in enumerate(self._ids)}
        return len(gone)

    def search(self, queries: FloatArray, k: int, *, allow: Collection[str] | None = None) -> list[list[Hit]]:
        """Return up to k nearest rows per query, nearest first; see `VectorIndex.search`."""
        if k < 1:
            raise BadInput(f"k is {k}; ask for at least 1")
        units = unit_rows(queries, self._dim)
        with self._guard.reading():
            allowed = None if allow is None else [self._row[name] for name in set(allow) if name in self._row]
            there = len(self._ids) if allowed is None else len(allowed)
            if not there or not len(units):
                return [[] for _ in units]
            with _threads_for(len(units)):
                return self._exact(units, min(k, there), there, self._only(allowed))

    def _only(self, allowed: list[int] | None) -> Any:
        if allowed is None:
            return None
        flags = np.zeros(len(self._ids), dtype=bool)
        flags[allowed] = True
        bitmap = np.packbits(flags, bitorder="little")
        return faiss.SearchParameters(sel=faiss.IDSelectorBitmap(bitmap))

    def _exact(self, units: FloatArray, k: int, there: int, only: Any) -> list[list[Hit]]:
        # FAISS breaks ties by row. Ask for more until the last score is below the k-th: then every row
        # that could share the cut is at hand, and the order by id decides.
        depth = min(there, k + 8)
        scores, rows = self._index.search(units, depth, params=only)
        scores = _rounded(scores)
        if depth == there:
            return [self._hits(*pair, k) for pair in zip(scores, rows, strict=True)]
        uncut = scores[:, -1] >= scores[:, k - 1]
        return [
            self._deeper(units[i : i + 1], k, depth, there, only)
            if uncut[i]
            else self._hits(scores[i], rows[i], k)
            for i in range(len(units))
        ]

    def _deeper(self, unit: FloatArray, k: int, depth: int, there: int, only: Any) -> list[Hit]:
        while True:
            depth = min(there, depth * 4)
            scores, rows = self._index.search(unit, depth, params=only)
            scores = _rounded(scores)
            if depth == there or scores[0, -1] < scores[0, k - 1]:
                return self._hits(scores[0], rows[0], k)

    def _hits(self, scores: NDArray[np.float64], rows: NDArray[np.int64], k: int) -> list[Hit]:
        pairs = zip(scores.tolist(), rows.tolist(), strict=True)
        found = [(-score, self._ids[row]) for score, row in pairs if row >= 0]  # -1: FAISS found no row
        return [Hit(name, 0.0 - score) for score, name in sorted(found)[:k]]

    def vectors_of(self, ids: Sequence[str]) -> FloatArray:
        """Return the unit rows of `ids`, (len(ids), dim), in that order; raises NotFound."""
        with self._guard.reading():
            missing = [name for name in ids if name not in self._row]
            if missing:
                raise NotFound(
                    f"{missing[0]!r} is not in the index ({len(missing)} of {len(ids)} ids are not)"
                )
            picked: FloatArray = self._rows()[[self._row[name] for name in ids]].reshape(len(ids), self._dim)
            return picked

    def _rows(self) -> FloatArray:
        """Return a view of FAISS's own memory, (len, dim); writing to it changes the index."""
        size = len(self._ids) * self._dim
        if not size:
            return np.zeros((0, self._dim), dtype=np.float32)
        view: FloatArray = faiss.rev_swig_ptr(self._index.get_xb(), size).reshape(-1, self._dim)
        return view

    def save(self, folder: Path, encoder: str, sequence: int) -> None:
        """Write the index into `folder`; see `VectorIndex.save`."""
        with self._guard.reading():
            meta = IndexMeta(
                kind=KIND, encoder=encoder, sequence=sequence, dim=self._dim, count=len(self._ids)
            )
            snapshot.write(folder, meta, self._ids, faiss.serialize_index(self._index).tobytes())


def load(folder: Path, encoder: str) -> tuple[FlatIndex, IndexMeta]:
    """Return the index in `folder` and what is known about it.

    `encoder` is the fingerprint of the encoder that will make the queries. Raises Conflict when
    another one made the vectors, Damaged when a file is not what was written.
    """
    meta, ids, body = snapshot.read(folder, KIND, encoder)
    index = FlatIndex(meta.dim)
    with snapshot.damage_named(folder):
        stored = faiss.deserialize_index(np.frombuffer(body, dtype=np.uint8))
        if (stored.d, stored.ntotal, len(ids)) != (meta.dim, meta.count, meta.count):
            raise ValueError(f"{stored.ntotal} rows of {stored.d} with {len(ids)} ids")
        index._index, index._ids = stored, ids
        index._row = {name: row for row, name in enumerate(ids)}
        if len(index._row) != len(ids):
            raise ValueError("an id is there twice")
    return index, meta


def _rounded(scores: FloatArray) -> NDArray[np.float64]:
    wide: NDArray[np.float64] = np.clip(np.round(scores.astype(np.float64), DECIMALS), -1.0, 1.0)
    return wide


@contextmanager
def _threads_for(queries: int) -> Iterator[None]:
    # The number belongs to the calling thread in OpenMP, so every search sets its own.
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1 if queries < _FEW else min(before, os.cpu_count() or 1))
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)
