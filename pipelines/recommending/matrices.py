"""Item-to-item matrices from behaviour: item-kNN, EASE, and both where the catalogue is large."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import scipy.linalg
import scipy.sparse

from services.recommender.collaborative import ItemMatrix
from services.recommender.domain import Act
from services.recommender.events import Like, strength

# scipy's annotations know no operation that mixes formats; what goes in and out is said in the docstrings.
sparse: Any = scipy.sparse
lapack: Any = scipy.linalg.lapack
Sparse: TypeAlias = Any

KEEP = 300  # strongest inputs kept per item: a hundredth of the memory of a full matrix at 10,000 items
EASE_LIMIT = 10_000  # items; EASE inverts n x n: three such matrices in float32 are 1.2 GB
SHRINK = 20.0  # item-kNN: two shared users among thousands are chance


def interactions(acts: Sequence[Act], ids: Sequence[str], like: Like | None = None) -> tuple[Sparse, Any]:
    """Return users x items (float32, the strongest event of each pair) and the events per item.

    Columns follow `ids`; events of other items are left out, and those that are not liked.
    """
    place = {item_id: i for i, item_id in enumerate(ids)}
    users: dict[str, int] = {}
    strongest: dict[tuple[int, int], float] = {}
    for act in acts:
        column, value = place.get(act.item_id), strength(act, like)
        if column is None or value <= 0:
            continue
        pair = (users.setdefault(act.user_id, len(users)), column)
        strongest[pair] = max(value, strongest.get(pair, 0.0))
    rows = np.array([user for user, _ in strongest], dtype=np.int32)
    columns = np.array([column for _, column in strongest], dtype=np.int32)
    values = np.array(list(strongest.values()), dtype=np.float32)
    matrix = sparse.csr_array((values, (rows, columns)), shape=(max(len(users), 1), len(ids)))
    return matrix, np.bincount(columns, minlength=len(ids)).astype(np.int64)


def knn(
    matrix: Sparse, ids: Sequence[str], events: Any, *, shrink: float = SHRINK, keep: int = KEEP
) -> ItemMatrix:
    """Return the cosine of every pair of items over their users, shrunk towards zero; no diagonal."""
    common = sparse.csr_array(matrix.T @ matrix).astype(np.float32)
    sizes = common.diagonal()
    coo = common.tocoo()
    rows, columns = coo.coords
    values = coo.data / (np.sqrt(sizes[rows] * sizes[columns]) + shrink)
    values[rows == columns] = 0
    return _pruned(sparse.csr_array((values, (rows, columns)), shape=common.shape), ids, events, keep)


def ease(matrix: Sparse, ids: Sequence[str], events: Any, *, penalty: float, keep: int = KEEP) -> ItemMatrix:
    """Return EASE: B = -P / diag(P) by column with P = (X'X + penalty)^-1, and no diagonal."""
    gram = (matrix.T @ matrix).toarray().astype(np.float32, order="F")
    gram[np.diag_indices_from(gram)] += penalty
    factor, failed = lapack.spotrf(gram, lower=1, overwrite_a=1)
    inverse, failed_too = lapack.spotri(factor, lower=1, overwrite_c=1)
    if failed or failed_too:  # never with a positive penalty, but for overflow
        raise ArithmeticError(f"X'X + {penalty} could not be inverted")
    lower = np.tril(inverse, -1)
    full = lower + lower.T  # the diagonal of B is zero
    return _pruned(full / -np.diag(inverse), ids, events, keep)


def learn(
    matrix: Sparse, ids: Sequence[str], events: Any, settings: Mapping[str, Any], *, limit: int = EASE_LIMIT
) -> ItemMatrix:
    """Return what `settings` name: `{"kind": "ease", "penalty": 300}` or `{"kind": "knn", "shrink": 20}`.

    Above `limit` items EASE learns the most used ones, and item-kNN, scaled to it, all others.
    """
    if settings["kind"] == "knn":
        return knn(matrix, ids, events, shrink=settings["shrink"])
    if len(ids) <= limit:
        return ease(matrix, ids, events, penalty=settings["penalty"])
    head = np.sort(np.argsort(-events, kind="stable")[:limit])
    small = ease(matrix[:, head], [ids[i] for i in head], events[head], penalty=settings["penalty"])
    return _joined(small, knn(matrix, ids, events), head, ids, events)


def _joined(small: ItemMatrix, large: ItemMatrix, head: Any, ids: Sequence[str], events: Any) -> ItemMatrix:
    n = len(ids)
    tail = np.ones(n, dtype=bool)
    tail[head] = False
    neighbours = sparse.csr_array((large.values, large.targets, large.starts), shape=(n, n)).tocoo()
    inner = sparse.csr_array((small.values, small.targets, small.starts), shape=(len(head),) * 2).tocoo()
    scale = (
        float(np.abs(small.values).mean() / max(float(np.abs(large.values).mean()), 1e-9))
        if len(small.values)
        else 1.0
    )
    rows, columns = neighbours.coords
    kept = tail[columns]
    data = np.concatenate([inner.data, neighbours.data[kept] * scale])
    places = (
        np.concatenate([head[inner.coords[0]], rows[kept]]),
        np.concatenate([head[inner.coords[1]], columns[kept]]),
    )
    return _wrapped(sparse.csr_array((data, places), shape=(n, n)), ids, events)


def _pruned(matrix: Any, ids: Sequence[str], events: Any, keep: int) -> ItemMatrix:
    """Keep the `keep` largest entries of each column by size: what says most about an item."""
    if sparse.issparse(matrix):
        columns = sparse.csc_array(matrix)
        pieces = [_largest(columns.data[a:b], columns.indices[a:b], keep) for a, b in _spans(columns.indptr)]
    else:
        places = np.arange(matrix.shape[0])
        pieces = [_largest(matrix[:, i], places, keep) for i in range(matrix.shape[1])]
    starts = np.cumsum([0, *(len(values) for values, _ in pieces)])
    data = np.concatenate([values for values, _ in pieces]) if pieces else np.zeros(0)
    rows = np.concatenate([rows for _, rows in pieces]) if pieces else np.zeros(0, np.int32)
    kept = sparse.csc_array((data, rows, starts), shape=(len(ids), len(ids)))
    return _wrapped(sparse.csr_array(kept), ids, events)


def _spans(starts: Any) -> list[tuple[int, int]]:
    return list(zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True))


def _largest(values: Any, rows: Any, keep: int) -> tuple[Any, Any]:
    used = np.flatnonzero(values)
    values, rows = values[used], rows[used]
    if len(values) <= keep:
        return values, rows
    best = np.sort(np.argpartition(-np.abs(values), keep)[:keep])
    return values[best], rows[best]


def _wrapped(matrix: Sparse, ids: Sequence[str], events: Any) -> ItemMatrix:
    matrix.sort_indices()
    return ItemMatrix(
        ids,
        matrix.indptr.astype(np.int64),
        matrix.indices.astype(np.int32),
        matrix.data.astype(np.float32),
        np.asarray(events, dtype=np.int64),
    )
