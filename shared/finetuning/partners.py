"""The order of the rows where rows of one label learn from each other: partners stand in one step."""

from collections.abc import Iterator, Sequence

import torch
from transformers.trainer_pt_utils import get_length_grouped_indices

from shared.finetuning.sampling import LengthGrouped


class Partnered(LengthGrouped):
    """Shuffles rows so that each stands beside one of its label, pairs of like length together.

    A contrastive loss over labels learns nothing from a row without a partner, and of 77 labels a step of 32
    rows drawn at random has few. `labels` gives each row's, None for a row without; a label with an odd
    number of rows leaves one alone. `size` is the rows of a step over all micro-batches and processes. The
    order follows from seed and epoch alone.
    """

    def __init__(self, labels: Sequence[int | None], lengths: Sequence[int], size: int, seed: int) -> None:
        super().__init__(lengths, size, seed)
        self._labels = list(labels)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self._seed * 1_000_003 + self._epoch)
        waiting: dict[int, int] = {}
        groups: list[tuple[int, ...]] = []
        for row in torch.randperm(len(self._labels), generator=generator).tolist():
            label = self._labels[row]
            if label is None:
                groups.append((row,))
            elif label in waiting:
                groups.append((waiting.pop(label), row))
            else:
                waiting[label] = row
        groups += [(row,) for row in waiting.values()]
        lengths = [max(self._lengths[row] for row in group) for group in groups]
        order = get_length_grouped_indices(lengths, max(1, self._size // 2), generator=generator)
        return iter([row for at in order for row in groups[at]])
