"""Averages of the weights along the way: EMA and SWA."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from shared.finetuning.backbone import HeadedModel
from shared.finetuning.methods.technique import Technique
from shared.finetuning.options import Average
from shared.finetuning.recipe import Recipe

_FILE = "average.safetensors"
_COUNT = "averaged"  # how many epochs are in the mean


class Averaged(Technique):
    """Keeps an average of the trainable weights; `swapped` puts it into the model for a while."""

    def __init__(self, options: Average) -> None:
        self._options = options
        self._live: dict[str, Tensor] = {}
        self._mean: dict[str, Tensor] = {}
        self._count = 0

    def prepare(self, model: HeadedModel, recipe: Recipe) -> None:
        """Take the weights that are trained now or will be."""
        self._live = {name: p for name, p in model.named_parameters() if p.requires_grad}

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Begin at the start, unless a checkpoint brought an average."""
        if self._options.kind == "ema" and not self._mean:
            self._mean = self._copy()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Follow the weights: at step t with a decay of at most (1 + t) / (10 + t), as TensorFlow does."""
        if self._options.kind == "ema":
            t = state.global_step
            self._draw(1 - min(self._options.decay, (1 + t) / (10 + t)))

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Take the weights of this epoch's end into the mean."""
        if self._options.kind == "swa" and state.epoch > self._options.start * args.num_train_epochs:
            self._count += 1
            self._mean = self._mean or self._copy()
            self._draw(1 / self._count)

    @contextmanager
    def swapped(self) -> Iterator[None]:
        """Show the average in the model; before there is one, the weights as they are."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def save(self, folder: Path) -> None:
        """Write the average and how much is in it."""
        if self._mean:
            save_file({**self._mean, _COUNT: torch.tensor(self._count)}, folder / _FILE)

    def load(self, folder: Path) -> None:
        """Read the average."""
        if (folder / _FILE).is_file():
            stored = load_file(folder / _FILE)
            self._count = int(stored.pop(_COUNT))
            self._mean = {name: stored[name].to(p.device) for name, p in self._live.items()}

    def _copy(self) -> dict[str, Tensor]:
        return {name: p.detach().clone() for name, p in self._live.items()}

    @torch.no_grad()
    def _draw(self, share: float) -> None:
        live = [self._live[name].detach() for name in self._mean]
        torch._foreach_lerp_(list(self._mean.values()), live, share)

    @torch.no_grad()
    def _swap(self) -> None:
        for name, mean in self._mean.items():
            own = self._live[name].detach().clone()
            self._live[name].copy_(mean)
            mean.copy_(own)
