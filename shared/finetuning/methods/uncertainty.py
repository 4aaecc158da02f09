"""Uncertainty weighting: how much each head's loss counts is learnt."""

import torch
from torch import Tensor, nn

from shared.finetuning.backbone import HeadedModel
from shared.finetuning.methods.technique import Technique
from shared.finetuning.recipe import Recipe


class Balance(nn.Module):
    """One log-variance s per head that learns. A row's loss l becomes exp(-s) l + s / 2, and for numbers
    exp(-s) l / 2 + s / 2.

    Kendall, Gal and Cipolla 2018, Multi-Task Learning Using Uncertainty to Weigh Losses. The penalty s / 2
    counts once for each row that the head learns from, so that accumulation and rows without the head change
    nothing.
    """

    def __init__(self, numbers: dict[str, bool]) -> None:
        super().__init__()
        self._numbers = numbers
        # A prefix of its own: a head may be called like a method of the dictionary.
        self.logs = nn.ParameterDict({f"of_{name}": nn.Parameter(torch.zeros(())) for name in numbers})

    def forward(self, name: str, loss: Tensor, rows: Tensor | int) -> Tensor:
        """Return the weighed loss of a head, summed over `rows` rows as `loss` is."""
        log = self.logs[f"of_{name}"]
        half = 0.5 if self._numbers[name] else 1.0
        weighed: Tensor = half * torch.exp(-log) * loss + rows * log / 2
        return weighed


class Uncertainty(Technique):
    """Puts the weights of the heads' losses into the model; they learn at the heads' rate, undecayed, and go
    with its weights through checkpoints."""

    def prepare(self, model: HeadedModel, recipe: Recipe) -> None:
        """Begin with all heads alike."""
        learning = {name: spec for name, spec in model.specs.items() if name in recipe.heads}
        numbers = {n: spec.kind == "regress" for n, spec in learning.items() if recipe.heads[n].data}
        model.balance = Balance(numbers).to(next(model.parameters()).device)

    def finish(self, model: HeadedModel) -> None:
        """Take them away."""
        model.balance = None
