"""What a model said of the rows that it was measured on, kept to compare later texts with."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from shared.errors import Damaged, NotFound
from shared.evaluation import drift
from shared.models.heads import FloatArray, HeadSpec

if TYPE_CHECKING:  # a service that runs no model loads none to know of this file
    from shared.models.text_model import TextModel

FILE = "reference.npy"
ROWS = 500  # of each side: a test over vectors compares every row with every other
FEWEST = 30  # rows, below which nothing can be said
ALARM = 0.05  # the chance that any figure of a comparison is called moved where nothing is
# What matters, beyond chance: by custom for the index; for vectors half of the rows being of labels that
# the reference has none of (public questions to a bank).
SMALLEST = {"psi": 0.1, "ks": 0.1, "energy": 0.005}

What = Literal["labels", "confidence", "value", "length", "vector"]
Measure = Literal["psi", "ks", "energy"]
Codes = npt.NDArray[np.int64]
Array = npt.NDArray[np.float64]
T = TypeVar("T")


@dataclass(frozen=True)
class Finding:
    """One figure of a comparison.

    `what` is labels (which ones classify `head` gives), confidence (the probability of that label), value (of
    a regress head), length (characters) or vector; `figure` psi, ks or energy, as `shared.evaluation.drift`
    has them, with `value` and `p_value`. `moved` says that it is beyond chance and large enough to matter.
    """

    what: What
    head: str | None
    figure: Measure
    value: float
    p_value: float
    moved: bool


@dataclass(frozen=True)
class Profile:
    """What was said of n texts: their `lengths` (n,) in characters, by classify head the positions of the
    `labels` (n,), by classify and regress head `numbers` (n,), the probability of that label or the value,
    and unit `vectors` (n, dim), None for a model without them."""

    lengths: Codes
    labels: dict[str, Codes]
    numbers: dict[str, Array]
    vectors: FloatArray | None

    @classmethod
    def of(cls, heads: Sequence[HeadSpec], texts: Sequence[str], raw: Mapping[str, FloatArray]) -> "Profile":
        """Return what raw numbers (by head, a row a text) say of the texts; other kinds of heads say
        nothing."""
        labels, numbers, vectors = {}, {}, None
        for head in heads:
            if head.kind == "classify":
                values = head.decode(raw[head.name])
                labels[head.name] = values.argmax(1).astype(np.int64)
                numbers[head.name] = values.max(1).astype(np.float64)
            elif head.kind == "regress":
                numbers[head.name] = head.decode(raw[head.name]).astype(np.float64)
            elif head.kind == "embed":
                # At half precision, as it is stored: both sides of a comparison are rounded alike.
                vectors = raw[head.name].astype(np.float16).astype(np.float32)
        return cls(np.asarray([len(text) for text in texts], np.int64), labels, numbers, vectors)

    def save(self, folder: Path) -> None:
        """Write `reference.npy` into a model folder: a record a text."""
        columns = dict(self._columns())
        kinds = [(name, values.dtype, values.shape[1:]) for name, values in columns.items()]
        records = np.zeros(len(self.lengths), kinds)
        for name, values in columns.items():
            records[name] = values
        aside = folder / f".{FILE}"
        with aside.open("wb") as file:
            np.save(file, records, allow_pickle=False)
        aside.replace(folder / FILE)

    def _columns(self) -> Iterator[tuple[str, npt.NDArray[np.generic]]]:
        yield "length", self.lengths
        yield from ((f"label:{name}", values) for name, values in self.labels.items())
        yield from ((f"number:{name}", values.astype(np.float32)) for name, values in self.numbers.items())
        if self.vectors is not None:
            yield "vector", self.vectors.astype(np.float16)

    @classmethod
    def load(cls, folder: Path) -> "Profile":
        """Read `reference.npy`; raises NotFound for a folder without one, Damaged for a broken one."""
        try:
            records = np.load(folder / FILE, allow_pickle=False)
            names = records.dtype.names or ()
            return cls(
                records["length"],
                {n.removeprefix("label:"): records[n] for n in names if n.startswith("label:")},
                {
                    n.removeprefix("number:"): records[n].astype(np.float64)
                    for n in names
                    if n.startswith("number:")
                },
                records["vector"].astype(np.float32) if "vector" in names else None,
            )
        except FileNotFoundError as error:
            raise NotFound(f"{folder} keeps no {FILE}; rows to compare with must be given") from error
        except (OSError, ValueError, IndexError, EOFError) as error:
            raise Damaged(f"{folder / FILE} can't be read: {error}; train again") from error


def sample(rows: Sequence[T], *, seed: int = 0) -> list[T]:
    """Return at most ROWS of the rows, drawn at random, in their order."""
    if len(rows) <= ROWS:
        return list(rows)
    chosen = np.random.default_rng(seed).choice(len(rows), ROWS, replace=False)
    return [rows[int(i)] for i in np.sort(chosen)]


def profile(model: "TextModel", texts: Sequence[str]) -> Profile:
    """Return what a model of single texts says of the texts, of many of a sample.

    They are read in an order of their own, not as they came: the last digits of what is said of a text depend
    on its neighbours in the batch, and the same texts in another order are to give the same.
    """
    texts = sorted(sample(texts))
    return Profile.of(list(model.heads.values()), texts, model.raw(model.encode(texts)))


def compare(reference: Profile, current: Profile, *, seed: int = 0) -> list[Finding]:
    """Return every figure that both sides have: labels and confidence by head, values, length, vector.

    With fewer than FEWEST texts on a side there is none. The p-values are those of permutations (see
    `drift`); they are held against ALARM divided by the number of figures, so that together they seldom cry
    wolf.
    """
    if min(len(reference.lengths), len(current.lengths)) < FEWEST:
        return []
    found = list(_shifts(reference, current, seed))
    return [
        Finding(
            what,
            head,
            figure,
            round(shift.value, 4),
            round(shift.p_value, 4),
            moved=shift.value >= SMALLEST[figure] and shift.p_value * len(found) <= ALARM,
        )
        for what, head, figure, shift in found
    ]


def _shifts(
    reference: Profile, current: Profile, seed: int
) -> Iterator[tuple[What, str | None, Measure, drift.Shift]]:
    for name in sorted(reference.labels.keys() & current.labels.keys()):
        yield "labels", name, "psi", drift.psi(reference.labels[name], current.labels[name], seed=seed)
    for name in sorted(reference.numbers.keys() & current.numbers.keys()):
        what: What = "confidence" if name in reference.labels else "value"
        yield what, name, "ks", drift.ks(reference.numbers[name], current.numbers[name], seed=seed)
    lengths = (one.lengths.astype(np.float64) for one in (reference, current))
    yield "length", None, "ks", drift.ks(*lengths, seed=seed)
    if reference.vectors is not None and current.vectors is not None:
        yield "vector", None, "energy", drift.energy(reference.vectors, current.vectors, seed=seed)
