"""The order of the rows: new in every epoch, the same in every process, texts of like length together."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch.utils.data import Sampler
from transformers.trainer_pt_utils import get_length_grouped_indices


class Mixed:
    """Which rows an epoch shows: as many as there are, each source with a share that grows with its rows n as
    n^(1 / `temperature`).

    Temperature sampling as in multilingual pre-training (Devlin 2018, Conneau and Lample 2019: the exponent
    there is 1 / temperature here). A source's rows come in shuffled rounds that go on from epoch to epoch, so
    that each is shown as often as any other of its source, one more or less. Seed and epoch alone say which.
    """

    def __init__(self, sources: Sequence[str], temperature: float, seed: int) -> None:
        self._rows: dict[str, list[int]] = {}
        for row, source in enumerate(sources):
            self._rows.setdefault(source, []).append(row)
        self._counts = shares({name: len(rows) for name, rows in self._rows.items()}, temperature)
        self._seed = seed

    def __call__(self, epoch: int) -> list[int]:
        """Return the positions of the epoch's rows (from 0), source by source."""
        found = []
        for place, (source, rows) in enumerate(self._rows.items()):
            first = epoch * self._counts[source]
            for at in range(first, first + self._counts[source]):
                round_, step = divmod(at, len(rows))
                if step == 0 or at == first:
                    order = self._order(place, round_, len(rows))
                found.append(rows[order[step]])
        return found

    def _order(self, place: int, round_: int, rows: int) -> list[int]:
        # A generator of its own for each source and round: no row depends on how many others were drawn.
        seed = ((self._seed * 1_000_003 + place) * 1_000_003 + round_) % 2**63
        order: list[int] = torch.randperm(rows, generator=torch.Generator().manual_seed(seed)).tolist()
        return order


def shares(sizes: Mapping[str, int], temperature: float) -> dict[str, int]:
    """Return how many of sum(sizes) rows each source gives, at least one: n^(1 / temperature) in proportion,
    rounded to the sum by the largest remainders (of equal ones the earlier)."""
    total = sum(sizes.values())
    weights = {name: n ** (1 / temperature) for name, n in sizes.items()}
    exact = {name: total * weight / sum(weights.values()) for name, weight in weights.items()}
    found = {name: max(1, math.floor(value)) for name, value in exact.items()}
    order = sorted(exact, key=lambda name: math.floor(exact[name]) - exact[name])
    left = total - sum(found.values())
    for name in order[: max(0, left)]:
        found[name] += 1
    if left < 0:  # a source so small that its one row was none: the largest gives it
        found[max(found, key=lambda name: found[name])] += left
    return found


class LengthGrouped(Sampler[int]):
    """Shuffles rows so that each step's are of like length.

    `size` is the rows of a step over all micro-batches and processes, `chosen` says which rows an epoch
    shows, as many as there are; without it each once. The order follows from seed and
    epoch alone: a run that goes on from a checkpoint, or in more processes, sees the rows as any other.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        size: int,
        seed: int,
        chosen: Callable[[int], list[int]] | None = None,
    ) -> None:
        self._lengths, self._size, self._seed, self._chosen = list(lengths), size, seed, chosen
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch comes next, from 0."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._lengths)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self._seed * 1_000_003 + self._epoch)
        rows = self._chosen(self._epoch) if self._chosen else list(range(len(self._lengths)))
        lengths = [self._lengths[row] for row in rows]
        order = get_length_grouped_indices(lengths, self._size, generator=generator)
        return iter([rows[place] for place in order])
