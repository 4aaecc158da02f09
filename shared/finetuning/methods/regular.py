"""Regularisers that are an extra loss: R-Drop and mixup."""

import torch
from torch import Tensor
from torch.nn import functional

from shared.finetuning.backbone import HeadedModel
from shared.finetuning.methods.technique import Batch, Pass, Technique, watched


class RDrop(Technique):
    """Two passes with their own dropout; their losses are averaged and their answers drawn together.

    Liang et al. 2021, R-Drop: the penalty is the mean of both Kullback-Leibler divergences, on classify
    and multilabel heads.
    """

    def __init__(self, weight: float) -> None:
        self._weight = weight

    def extra_loss(self, model: HeadedModel, batch: Batch, outputs: Pass) -> Tensor:
        """Return half of the second pass's loss, less half of the first's, and the weighted divergence."""
        with watched(model) as again:
            second = model(**batch, num_items_in_batch=1)["loss"]
        extra: Tensor = (second - outputs.loss) / 2
        for name, one in outputs.heads.items():
            spec = model.specs[name]
            if spec.kind in ("classify", "multilabel") and name in again:
                apart = _divergence(one.logits.float(), again[name].logits.float(), spec.kind == "multilabel")
                extra = extra + self._weight * model.recipes[name].weight * apart
        return extra


def _divergence(one: Tensor, other: Tensor, each: bool) -> Tensor:
    # (p - q) (log p - log q), summed, is the sum of both directions; for independent labels the logs of
    # the complements come in, and the odds are what remains.
    if each:
        return 0.5 * ((one.sigmoid() - other.sigmoid()) * (one - other)).mean(1).sum()
    p, q = functional.log_softmax(one, dim=-1), functional.log_softmax(other, dim=-1)
    return 0.5 * ((p.exp() - q.exp()) * (p - q)).sum()


class Mixup(Technique):
    """The loss of classify heads is taken on mixtures of two rows of the micro-batch instead of on rows."""

    def __init__(self, alpha: float) -> None:
        self._alpha = alpha

    def extra_loss(self, model: HeadedModel, batch: Batch, outputs: Pass) -> Tensor | None:
        """Return the mixtures' cross-entropy less that of the rows as they are."""
        extra: Tensor | None = None
        for name, found in outputs.heads.items():
            if model.specs[name].kind == "classify":
                loss = model.recipes[name].weight * self._mixed(
                    model, name, batch["targets"][name]["labels"], found.inputs
                )
                loss = loss - model.recipes[name].weight * self._loss(
                    model, found.logits, batch["targets"][name]["labels"]
                )
                extra = loss if extra is None else extra + loss
        return extra

    def _mixed(self, model: HeadedModel, name: str, labels: Tensor, vectors: Tensor) -> Tensor:
        beta = torch.distributions.Beta(self._alpha, self._alpha)
        share = float(beta.sample())
        order = torch.randperm(len(labels)).to(labels.device)
        logits = model.heads[name](share * vectors + (1 - share) * vectors[order])
        ours, theirs = (self._loss(model, logits, part) for part in (labels, labels[order]))
        return share * ours + (1 - share) * theirs

    @staticmethod
    def _loss(model: HeadedModel, logits: Tensor, labels: Tensor) -> Tensor:
        return functional.cross_entropy(
            logits.float(), labels, label_smoothing=model.label_smoothing, reduction="sum"
        )
