"""Who takes this also takes that: a sparse item-to-item matrix, learned by the flow and read here."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from services.recommender.domain import FloatArray, IntArray
from shared.errors import Damaged

_ITEMS = "items.json"
_ARRAYS = {"starts": np.int64, "targets": np.int32, "values": np.float32, "events": np.int64}


class ItemMatrix:
    """Row j holds what having taken item j adds to the score of the others, by ids known at training.

    `starts` (n + 1), `targets` and `values` are compressed sparse rows; `events` (n) counts the
    training events of each item. Never changed once made.
    """

    def __init__(
        self,
        ids: Sequence[str],
        starts: IntArray,
        targets: NDArray[np.int32],
        values: FloatArray,
        events: IntArray,
    ) -> None:
        self.ids = list(ids)
        self.starts, self.targets, self.values, self.events = starts, targets, values, events
        self.place = {item_id: i for i, item_id in enumerate(self.ids)}

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def empty(cls) -> "ItemMatrix":
        """Return the matrix of no items: what serves before anything was learned."""
        none = np.zeros(0, np.int64)
        return cls([], np.zeros(1, np.int64), none.astype(np.int32), none.astype(np.float32), none)

    def scores(self, weights: Mapping[str, float]) -> FloatArray:
        """Return sum over j of weights[j] * row j, (n,) float32 by `ids`; unknown ids add nothing."""
        known = [
            (self.place[item_id], weight) for item_id, weight in weights.items() if item_id in self.place
        ]
        if not known:
            return np.zeros(len(self.ids), np.float32)
        pieces = [slice(self.starts[row], self.starts[row + 1]) for row, _ in known]
        targets = np.concatenate([self.targets[piece] for piece in pieces])
        values = np.concatenate(
            [self.values[piece] * weight for piece, (_, weight) in zip(pieces, known, strict=True)]
        )
        return np.bincount(targets, values, minlength=len(self.ids)).astype(np.float32)

    def adds(self, source: str, target: str) -> float:
        """Return what having taken `source` adds to the score of `target`, at weight 1."""
        row, column = self.place.get(source), self.place.get(target)
        if row is None or column is None:
            return 0.0
        piece = slice(self.starts[row], self.starts[row + 1])
        return float(self.values[piece][self.targets[piece] == column].sum())

    def count(self, ids: Sequence[str]) -> NDArray[np.float64]:
        """Return the training events of each of `ids`, 0 for those it does not know."""
        return np.array([self.events[self.place[i]] if i in self.place else 0 for i in ids], dtype=np.float64)

    def save(self, folder: Path) -> None:
        """Write `items.json` and one .npy file per array into `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _ITEMS).write_text(json.dumps(self.ids, ensure_ascii=False), "utf-8")
        for name, kind in _ARRAYS.items():
            np.save(folder / f"{name}.npy", getattr(self, name).astype(kind), allow_pickle=False)

    @classmethod
    def load(cls, folder: Path) -> "ItemMatrix":
        """Return what `save` wrote; raises Damaged when the files do not fit together."""
        try:
            ids = json.loads((folder / _ITEMS).read_text("utf-8"))
            arrays = {name: np.load(folder / f"{name}.npy", allow_pickle=False) for name in _ARRAYS}
        except (OSError, ValueError) as error:
            raise Damaged(
                f"the item matrix in {folder} can't be read: {error}; run `trillium train` again"
            ) from error
        matrix = cls(ids, **arrays)
        if not matrix._fits():
            raise Damaged(
                f"the item matrix in {folder} has parts that do not fit; run `trillium train` again"
            )
        return matrix

    def _fits(self) -> bool:
        n = len(self.ids)
        if len(self.starts) != n + 1 or len(self.events) != n or len(self.targets) != len(self.values):
            return False
        inside = len(self.targets) == 0 or (self.targets.min() >= 0 and self.targets.max() < n)
        return bool(inside and self.starts[0] == 0 and self.starts[-1] == len(self.values)) and bool(
            (np.diff(self.starts) >= 0).all() and np.isfinite(self.values).all()
        )
