"""What a model said of the rows that it was measured on, kept to compare later texts with."""

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from shared.errors import Damaged, NotFound
from shared.evaluation import drift
from shared.models.heads import FloatArray, HeadSpec

FILE = "reference.npz"
ROWS = 500  # of each side: a test over vectors compares every row with every other
FEWEST = 30  # rows, below which nothing can be said
ALARM = 0.05  # the chance that any figure of a comparison is called moved where nothing is
# What matters, beyond chance: by custom for the index; for vectors half of the rows being of labels that
# the reference has none of (public questions to a bank).
SMALLEST = {"psi": 0.1, "ks": 0.1, "energy": 0.005}

Codes = npt.NDArray[np.int64]
Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Moved:
    """One figure of a comparison.

    `what` is labels (which ones classify `head` gives), confidence (the probability of that label), value (of
    a regress head), length (characters) or vector; `figure` psi, ks or energy, as `shared.evaluation.drift`
    has them, with `value` and `chance`. `moved` says that it is beyond chance and large enough to matter.
    """

    what: Literal["labels", "confidence", "value", "length", "vector"]
    head: str | None
    figure: Literal["psi", "ks", "energy"]
    value: float
    chance: float
    moved: bool


@dataclass(frozen=True)
class Seen:
    """What was said of n texts: their `lengths` (n,), by classify head the positions of the `labels` (n,),
    by classify and regress head `numbers` (n,), the probability of that label or the value, and unit
    `vectors` (n, dim), (0, 0) for a model without them."""

    lengths: Codes
    labels: dict[str, Codes]
    numbers: dict[str, Array]
    vectors: FloatArray

    @classmethod
    def of(
        cls, heads: Sequence[HeadSpec], texts: Sequence[str], raw: Mapping[str, FloatArray], *, seed: int = 0
    ) -> "Seen":
        """Return what the model's raw numbers (by head, one row a text) say; of more than ROWS texts a
        sample."""
        chosen = np.arange(len(texts))
        if len(texts) > ROWS:
            chosen = np.sort(np.random.default_rng(seed).choice(chosen, ROWS, replace=False))
        labels, numbers, vectors = {}, {}, np.zeros((0, 0), np.float32)
        for head in heads:
            if head.name not in raw:
                continue
            values = head.decode(raw[head.name][chosen]) if len(chosen) else np.zeros((0, 1), np.float32)
            if head.kind == "classify":
                labels[head.name] = values.argmax(1).astype(np.int64)
                numbers[head.name] = values.max(1).astype(np.float64)
            elif head.kind == "regress":
                numbers[head.name] = values.astype(np.float64)
            elif head.kind == "embed" and not len(vectors):
                # At half precision, as it is stored: both sides of a comparison are rounded alike.
                vectors = values.astype(np.float16).astype(np.float32)
        lengths = np.asarray([len(texts[int(i)]) for i in chosen], np.int64)
        return cls(lengths, labels, numbers, vectors)

    def save(self, folder: Path) -> None:
        """Write `reference.npz` into a model folder."""
        parts: dict[str, Any] = {"lengths": self.lengths, "vectors": self.vectors.astype(np.float16)}
        parts |= {f"labels:{name}": values for name, values in self.labels.items()}
        parts |= {f"numbers:{name}": values.astype(np.float32) for name, values in self.numbers.items()}
        aside = folder / f".{FILE}"
        with aside.open("wb") as file:
            np.savez(file, **parts)
        aside.replace(folder / FILE)

    @classmethod
    def load(cls, folder: Path) -> "Seen":
        """Read `reference.npz`; raises NotFound for a folder without one, Damaged for a broken one."""
        try:
            with np.load(folder / FILE) as parts:
                by = {
                    kind: {n.split(":", 1)[1]: parts[n] for n in parts.files if n.startswith(f"{kind}:")}
                    for kind in ("labels", "numbers")
                }
                numbers = {name: values.astype(np.float64) for name, values in by["numbers"].items()}
                vectors = parts["vectors"].astype(np.float32)
                return cls(parts["lengths"], by["labels"], numbers, vectors)
        except FileNotFoundError as error:
            raise NotFound(f"{folder} keeps no {FILE}; rows to compare with must be given") from error
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise Damaged(f"{folder / FILE} can't be read: {error}; train again") from error


def compare(reference: Seen, current: Seen, *, seed: int = 0) -> list[Moved]:
    """Return every figure that both sides have: labels and confidence by head, values, length, vector.

    With fewer than FEWEST texts on a side there is none. Chances are those of permutations (see `drift`);
    they are held against ALARM divided by the number of figures, so that together they seldom cry wolf.
    """
    found: list[tuple[Any, str | None, Any, drift.Shift]] = []
    if min(len(reference.lengths), len(current.lengths)) < FEWEST:
        return []
    for name in reference.labels.keys() & current.labels.keys():
        shift = drift.categories(reference.labels[name], current.labels[name], seed=seed)
        found.append(("labels", name, "psi", shift))
    for name in reference.numbers.keys() & current.numbers.keys():
        what = "confidence" if name in reference.labels else "value"
        shift = drift.numbers(reference.numbers[name], current.numbers[name], seed=seed)
        found.append((what, name, "ks", shift))
    lengths = (one.lengths.astype(np.float64) for one in (reference, current))
    found.append(("length", None, "ks", drift.numbers(*lengths, seed=seed)))
    if min(len(reference.vectors), len(current.vectors)) >= FEWEST:
        shift = drift.vectors(reference.vectors, current.vectors, seed=seed)
        found.append(("vector", None, "energy", shift))
    order = ("labels", "confidence", "value", "length", "vector")
    found.sort(key=lambda one: (order.index(one[0]), one[1] or ""))
    return [
        Moved(
            what,
            head,
            figure,
            round(shift.value, 4),
            round(shift.chance, 4),
            moved=shift.value >= SMALLEST[figure] and shift.chance * len(found) <= ALARM,
        )
        for what, head, figure, shift in found
    ]
