"""Lessons of rows as an extra loss: what teachers said of them, and what the model says of their twins."""

import torch
from torch import Tensor
from torch.nn import functional

from shared.finetuning.backbone import HeadedModel
from shared.finetuning.collate import TWINS
from shared.finetuning.methods.technique import Batch, Pass, Technique

_NEVER = -1e4  # a logit that leaves a label out; infinity times 0 is no number


class Taught(Technique):
    """Draws the heads towards what a lesson holds of each row; rows without one add nothing."""

    def __init__(self, lesson: str, weight: float, temperature: float = 1.0) -> None:
        self._lesson, self._weight, self._temperature = lesson, weight, temperature

    def extra_loss(self, model: HeadedModel, batch: Batch, outputs: Pass) -> Tensor | None:
        """Return the weighted distances of all heads, each by its own weight, summed over rows."""
        extra: Tensor | None = None
        for name, part in batch.get("lessons", {}).get(self._lesson, {}).items():
            said = outputs.said[name][part["rows"]]
            apart = distance(model.specs[name].kind, said, part["taught"].to(said.dtype), self._temperature)
            loss = self._weight * model.recipes[name].weight * apart
            extra = loss if extra is None else extra + loss
        return extra


def distance(kind: str, said: Tensor, taught: Tensor, temperature: float) -> Tensor:
    """Return how far raw answers `said` (rows, width) are from `taught` (rows, width), summed over rows.

    classify: the divergence of two distributions at the temperature, times its square, over the labels that
    are taught (NaN: not taught); multilabel and score: binary cross-entropy, the mean over taught labels;
    regress: squared error; embed: 1 - cosine.
    """
    if kind == "embed":
        return (1 - (said * taught).sum(-1)).sum()
    if kind == "regress":
        return (said - taught).square().sum()
    known = ~torch.isnan(taught)
    wanted = torch.nan_to_num(taught)
    if kind == "classify":
        logs = functional.log_softmax((said / temperature).masked_fill(~known, _NEVER), dim=-1)
        return temperature**2 * functional.kl_div(logs, wanted, reduction="sum")
    losses = functional.binary_cross_entropy_with_logits(said / temperature, wanted, reduction="none")
    shares = known / known.sum(-1, keepdim=True).clamp(min=1)
    return temperature**2 * (losses * shares).sum()


class Consistent(Technique):
    """What classify heads say of a row's twin is drawn to what they say of the row, where they are sure.

    Xie et al. 2020, Unsupervised Data Augmentation: the answer to the row is sharpened and has no gradient.
    """

    def __init__(self, weight: float, confidence: float, sharpen: float) -> None:
        self._weight, self._confidence, self._sharpen = weight, confidence, sharpen

    def extra_loss(self, model: HeadedModel, batch: Batch, outputs: Pass) -> Tensor | None:
        """Return the weighted divergence, summed over rows that have a twin."""
        twins = batch.get("lessons", {}).get(TWINS)
        if twins is None:
            return None
        extra: Tensor | None = None
        for name, logits in outputs.said.items():
            if model.specs[name].kind == "classify":
                own = logits[twins["rows"]].detach()
                sure = own.softmax(-1).max(-1).values > self._confidence
                logs = functional.log_softmax(logits[twins["twins"]], dim=-1)
                wanted = (own / self._sharpen).softmax(-1)
                apart = functional.kl_div(logs, wanted, reduction="none").sum(-1)
                loss = self._weight * model.recipes[name].weight * (apart * sure).sum()
                extra = loss if extra is None else extra + loss
        return extra
