"""Gradual unfreezing: the upper layers first."""

from typing import Any

from torch import nn

from shared.finetuning.backbone import HeadedModel
from shared.finetuning.methods.rates import depths, layers
from shared.finetuning.methods.technique import Technique
from shared.finetuning.recipe import Recipe


class Unfreeze(Technique):
    """In epoch e (from 1) the upper e x `step` layers are trained, the embeddings in the epoch after
    all layers.

    Howard and Ruder 2018, Universal Language Model Fine-tuning.
    """

    def __init__(self, step: int) -> None:
        self._step = step
        self._top = 0
        self._parameters: list[tuple[int, nn.Parameter]] = []

    def prepare(self, model: HeadedModel, recipe: Recipe) -> None:
        """Learn how deep each weight lies."""
        depth, self._top = depths(model), layers(model)
        self._parameters = [(depth[name], p) for name, p in model.named_parameters() if name in depth]

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Set which weights are trained from now on."""
        lowest = self._top - self._step * (round(state.epoch or 0) + 1)
        for depth, parameter in self._parameters:
            parameter.requires_grad_(depth > lowest)

    def finish(self, model: HeadedModel) -> None:
        """Leave all weights trainable."""
        for _, parameter in self._parameters:
            parameter.requires_grad_()
