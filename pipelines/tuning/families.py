"""Rows that are one sentence with other names in it: templates, form letters, corrected versions."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from shared.models.heads import OUTSIDE

NEAR = 0.35  # Jaccard similarity of pairs of words, from which two rows are of one family
MOST = 10_000  # rows that are compared with each other; more are taken as strangers
_BLOCK = 500


def families(rows: Sequence[Mapping[str, Any]], target: str) -> npt.NDArray[np.int64]:
    """Return (rows,) the number of each tagged row's family.

    What is compared is what stands around the entities: each entity counts as its kind, each number as one.
    Two rows are of a family where their pairs of neighbouring words are alike by NEAR, or where a chain of
    such rows joins them. A pair weighs less the more rows have it, so that a link or a greeting which many
    rows share makes no family.
    """
    if not 1 < len(rows) <= MOST:
        return np.arange(len(rows))
    known: dict[Hashable, int] = {}
    columns = [sorted({known.setdefault(pair, len(known)) for pair in _pairs(row, target)}) for row in rows]
    ends = np.concatenate([[0], np.cumsum([len(own) for own in columns])])
    at = np.concatenate(columns)
    table = csr_array((np.ones(len(at), np.float32), at, ends), shape=(len(rows), len(known)))
    weights = np.log1p(len(rows) / np.bincount(at, minlength=len(known))).astype(np.float32)
    sizes = table @ weights
    turned = (table * weights).T.tocsr()
    left, right = [], []
    for start in range(0, len(rows), _BLOCK):
        shared = (table[start : start + _BLOCK] @ turned).tocoo()
        one, other = shared.coords[0] + start, shared.coords[1]
        near = shared.data >= NEAR * (sizes[one] + sizes[other] - shared.data)
        left.append(one[near])
        right.append(other[near])
    one, other = np.concatenate(left), np.concatenate(right)
    edges = csr_array((np.ones(len(one), np.int8), (one, other)), shape=(len(rows), len(rows)))
    _, found = connected_components(edges, directed=False)
    numbers: npt.NDArray[np.int64] = found.astype(np.int64)
    return numbers


def _pairs(row: Mapping[str, Any], target: str) -> Iterable[tuple[str, str]]:
    words = ["", *_frame(row["tokens"], row[target]), ""]
    return pairwise(words)


def _frame(tokens: Sequence[str], tags: Sequence[str]) -> Iterable[str]:
    for word, tag in zip(tokens, tags, strict=True):
        if tag == OUTSIDE:
            yield "0" if any(sign.isdigit() for sign in word) else word.casefold()
        elif tag.startswith("B-"):
            yield f"<{tag[2:]}>"
