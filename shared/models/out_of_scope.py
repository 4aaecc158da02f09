"""Questions that belong to none of a classify head's labels: found by where a text lies and by doubt.

Six numbers of a text, each higher the stranger it is: the entropy and the energy of its probabilities (Liu
et al. 2020), the distance to the nearest training rows (Sun et al. 2022), how much nearer the answered
label's rows are than any other's, the relative Mahalanobis distance to the nearest class (Ren et al. 2021),
and how much farther its nearest rows are from it than from their own neighbours (as the local outlier factor
of Breunig et al. 2000). Each is measured in standard deviations of in-scope validation rows; their weighted
sum is the score. No single one does well both on questions from another world and on neighbours of the known
classes, the sum does.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator

from shared.errors import BadInput, Damaged
from shared.models.heads import FloatArray, softmax

FILE = "out_of_scope.npz"
FEATURES = ("entropy", "energy", "nearest", "rivals", "mahalanobis", "density")
FIRST_FEATURES = FEATURES[:5]  # of rules that were fitted before there was "density"
FOREIGN = "foreign"  # one more where texts out of scope are known: the nearness to them
NEAREST = 3
CLIP = 4.0  # standard deviations: one wild number must not drown the others
_BLOCK = 256  # texts compared with all training rows at a time: some 20 MB for 20,000 rows
_TINY = 1e-12

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Places:
    """Where the training rows lie.

    `rows` (n, dim) are unit vectors sorted by label, `starts` (labels,) where each label's rows begin.
    `whitening` and `background` (dim, dim) turn a difference into one whose squared length is a Mahalanobis
    distance, within classes and over all rows; `means` (labels, dim) and `middle` (dim,) are the means.
    `own` (n,) is each row's mean cosine to the rows nearest to it. `foreign` (m, dim) are vectors known to be
    out of scope, (0, dim) for none.
    """

    rows: FloatArray
    starts: npt.NDArray[np.int64]
    means: FloatArray
    whitening: FloatArray
    middle: FloatArray
    background: FloatArray
    foreign: FloatArray
    own: FloatArray

    @cached_property
    def whitened_means(self) -> FloatArray:
        """The class means in the whitened room, (labels, dim)."""
        found: FloatArray = self.means @ self.whitening
        return found

    def save(self, folder: Path) -> None:
        """Write `out_of_scope.npz` into a model folder; the vectors of rows at half precision."""
        parts: dict[str, Any] = {name: getattr(self, name) for name in self.__dataclass_fields__}
        for name in ("rows", "foreign"):
            parts[name] = parts[name].astype(np.float16)
        aside = folder / f".{FILE}"
        with aside.open("wb") as file:
            np.savez(file, **parts)
        aside.replace(folder / FILE)

    @classmethod
    def load(cls, folder: Path) -> "Places":
        """Read `out_of_scope.npz`; raises Damaged for a file that is missing or broken."""
        try:
            with np.load(folder / FILE, allow_pickle=False) as file:
                parts = {name: file[name] for name in cls.__dataclass_fields__ if name != "own"}
                # Files of rules without "density" have none.
                parts["own"] = file["own"] if "own" in file.files else np.zeros(len(parts["rows"]))
        except (OSError, ValueError, KeyError) as error:
            raise Damaged(
                f"{folder / FILE} can't be read: {error}; restore the model or train again"
            ) from error
        starts = parts.pop("starts").astype(np.int64)
        return cls(starts=starts, **{name: part.astype(np.float32) for name, part in parts.items()})


class OutOfScope(BaseModel):
    """How one classify head refuses; small enough for the model's card, `Places` beside it.

    `means`, `spreads` and `weights` have one number per feature, in the order of `features`: those of
    FEATURES, and where texts out of scope were known the nearness to them. A text is refused when its score
    is above `threshold`. `temperature` is the head's when this was fitted, `keep` the in-scope accuracy
    asked for and `kept` the one reached on validation rows; `label` is what a refused text is called.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    head: str
    threshold: float
    temperature: float = Field(gt=0)
    means: list[float]
    spreads: list[float]
    weights: list[float]
    features: list[str] = []
    keep: float = Field(gt=0, le=1)
    kept: float
    label: str = "out_of_scope"

    @model_validator(mode="after")
    def _fits(self) -> "OutOfScope":
        names = self.names
        if strange := set(names) - {*FEATURES, FOREIGN}:
            raise ValueError(f"out of scope: no feature is called {', '.join(sorted(strange))}")
        if {len(self.means), len(self.spreads), len(self.weights)} != {len(names)}:
            raise ValueError(f"out of scope: {len(names)} features have as many means, spreads and weights")
        if min(self.spreads) <= 0:
            raise ValueError("out of scope: a spread is above 0")
        return self

    @property
    def names(self) -> list[str]:
        """The features that count; a rule from before they were named has the first five, or these and the
        nearness to foreign texts."""
        count = len(FIRST_FEATURES) + (len(self.means) > len(FIRST_FEATURES))
        return self.features or [*FIRST_FEATURES, FOREIGN][:count]

    def score(self, places: Places, vectors: FloatArray, logits: FloatArray) -> Array:
        """Return (n,) how strange each text is, higher for more, of `vectors` (n, dim) and raw `logits`
        (n, labels)."""
        found = features(places, vectors, np.asarray(logits, np.float64) / self.temperature)
        return self.combined(found)

    def combined(self, found: Array) -> Array:
        """Return (n,) the score of features (n, 6 or 7) as `features` gives them."""
        at = [[*FEATURES, FOREIGN].index(name) for name in self.names]
        if found.shape[1] <= max(at):
            raise BadInput(f"the score needs {', '.join(self.names)}; there are {found.shape[1]} features")
        levels = (found[:, at] - np.asarray(self.means)) / np.asarray(self.spreads)
        scores: Array = np.clip(levels, -CLIP, CLIP) @ np.asarray(self.weights)
        return scores

    def reject(self, places: Places, vectors: FloatArray, logits: FloatArray) -> npt.NDArray[np.bool_]:
        """Return (n,) True where a text is refused as out of scope."""
        return self.score(places, vectors, logits) > self.threshold


def features(
    places: Places, vectors: FloatArray, scaled: npt.NDArray[np.floating], *, itself: bool = False
) -> Array:
    """Return (n, 6), or (n, 7) where foreign rows are known: the features, each higher the stranger.

    `scaled` (n, labels) are logits over the temperature. `itself` says that the texts are the foreign rows,
    in order: a row is then not its own neighbour.
    """
    if scaled.shape[1] != len(places.starts):
        raise BadInput(f"{scaled.shape[1]} logits a text don't fit {len(places.starts)} labels")
    levels = np.asarray(scaled, np.float64)
    blocks = [slice(at, at + _BLOCK) for at in range(0, len(vectors), _BLOCK)]
    parts = [_block(places, vectors[one], levels[one]) for one in blocks]
    width = len(FEATURES) + bool(len(places.foreign))
    if not parts:
        return np.zeros((0, width))
    found = np.concatenate(parts)
    if width > len(FEATURES):
        found = np.column_stack([found, _foreign(places.foreign, vectors, itself=itself)])
    return found


def _block(places: Places, vectors: FloatArray, scaled: Array) -> Array:
    shares, answered = softmax(scaled), scaled.argmax(1)
    entropy = -(shares * np.log(shares + _TINY)).sum(1)
    top = scaled.max(1)
    energy = -(top + np.log(np.exp(scaled - top[:, None]).sum(1)))
    near = vectors @ places.rows.T  # (n, rows), cosine: both are unit length
    count = min(NEAREST, near.shape[1])
    best = np.argpartition(near, near.shape[1] - count, axis=1)[:, -count:]
    nearest = -np.take_along_axis(near, best, axis=1).mean(1).astype(np.float64)
    density = places.own[best].mean(1).astype(np.float64) + nearest
    by_label = np.maximum.reduceat(near, places.starts, axis=1)  # (n, labels)
    at = np.arange(len(vectors))
    own = by_label[at, answered].copy()
    by_label[at, answered] = -2
    rivals = by_label.max(1) - own if by_label.shape[1] > 1 else -own
    return np.column_stack([entropy, energy, nearest, rivals, _mahalanobis(places, vectors), density])


def _mahalanobis(places: Places, vectors: FloatArray) -> Array:
    seen, classes = vectors @ places.whitening, places.whitened_means
    squares = (seen**2).sum(1)[:, None] - 2 * seen @ classes.T + (classes**2).sum(1)
    everywhere = (((vectors - places.middle) @ places.background) ** 2).sum(1)
    distances: Array = squares.min(1).astype(np.float64) - everywhere
    return distances


def own_nearness(rows: FloatArray) -> FloatArray:
    """Return (n,) each row's mean cosine to the three other rows nearest to it; 1 for a row that is alone."""
    found = np.ones(len(rows), np.float32)
    for at in range(0, len(rows) if len(rows) > 1 else 0, _BLOCK):
        near = rows[at : at + _BLOCK] @ rows.T
        near[np.arange(len(near)), np.arange(at, at + len(near))] = -1  # a row is not its own neighbour
        found[at : at + len(near)] = _best_mean(near, min(NEAREST, len(rows) - 1))
    return found


def _foreign(foreign: FloatArray, vectors: FloatArray, *, itself: bool) -> Array:
    near = vectors @ foreign.T
    if itself:
        np.fill_diagonal(near, -1)
    return _best_mean(near, NEAREST)


def _best_mean(near: FloatArray, count: int) -> Array:
    count = min(count, near.shape[1])
    best: Array = np.partition(near, near.shape[1] - count, axis=1)[:, -count:].mean(1).astype(np.float64)
    return best
