"""Elastic weight consolidation: weights that earlier rows depend on are held near where they were.

Kirkpatrick et al. 2017, Overcoming catastrophic forgetting in neural networks.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from shared.finetuning.backbone import HeadedModel
from shared.finetuning.collate import Collator, masker
from shared.finetuning.examples import Example
from shared.finetuning.feeding import Feed
from shared.finetuning.methods.technique import Batch, Pass, Technique
from shared.finetuning.outputs import said_in_training
from shared.finetuning.recipe import Recipe
from shared.models.heads import sigmoid, softmax


class Consolidated(Technique):
    """Adds weight / 2 times the sum of information times squared distance from the weights at the start."""

    def __init__(self, weight: float, rows: int, earlier: Sequence[Example], feed: Feed) -> None:
        self._weight, self._rows, self._earlier, self._feed = weight, rows, list(earlier), feed
        self._parts: list[tuple[torch.nn.Parameter, Tensor, Tensor]] = []

    def prepare(self, model: HeadedModel, recipe: Recipe) -> None:
        """Measure the information on the earlier rows and remember the weights."""
        seed = recipe.train.seed
        order = np.random.default_rng(seed).permutation(len(self._earlier))[: self._rows]
        rows = drawn(model, self._feed, [self._earlier[i] for i in sorted(order)], seed)
        found = information(model, self._feed, rows)
        for name, fresh in model.fresh.items():  # labels that no earlier row has: nothing to hold
            for part in ("weight", "bias"):
                found[f"heads.{name}.{part}"][fresh] = 0.0
        total = sum(float(part.sum()) for part in found.values())
        scale = sum(part.numel() for part in found.values()) / max(total, 1e-30)
        weights = dict(model.named_parameters())
        self._parts = [(weights[n], weights[n].detach().clone(), part * scale) for n, part in found.items()]

    def extra_loss(self, model: HeadedModel, batch: Batch, outputs: Pass) -> Tensor:
        """Return the penalty times the rows of the micro-batch, so that a step has it once."""
        parts = [(held * (live - start).square()).sum() for live, start, held in self._parts]
        return self._weight / 2 * len(batch["labels"]) * torch.stack(parts).sum()


def information(model: HeadedModel, feed: Feed, rows: Sequence[Example]) -> dict[str, Tensor]:
    """Return by name of a trainable weight the mean squared gradient of a row's loss, the diagonal of the
    Fisher information where the rows' targets are the model's own draws."""
    device = next(model.parameters()).device
    specs = list(model.specs.values())
    collate = Collator(specs, feed, masker(feed.tokenizer) if any(s.kind == "mlm" for s in specs) else None)
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    sums = {name: torch.zeros_like(p) for name, p in trained.items()}
    training = model.training
    model.eval()
    for row in rows:
        batch = collate([row])
        inputs = {n: v.to(device) for n, v in batch.items() if isinstance(v, Tensor)}
        targets = {n: {k: v.to(device) for k, v in own.items()} for n, own in batch["targets"].items()}
        loss = model(**inputs, targets=targets)["loss"]
        found = torch.autograd.grad(loss, list(trained.values()), allow_unused=True)
        for name, gradient in zip(trained, found, strict=True):
            if gradient is not None:
                sums[name] += gradient.square()
    model.train(training)
    return {name: part / max(1, len(rows)) for name, part in sums.items()}


_LEFT = ("embed", "similarity")  # heads that learn from two texts' vectors: there is nothing to draw


def drawn(model: HeadedModel, feed: Feed, rows: Sequence[Example], seed: int) -> list[Example]:
    """Return the rows with targets of heads of a text drawn from what the model says of them.

    With their own targets a model that has learnt them by heart would have no information left (Kunstner
    et al. 2019, Limitations of the Empirical Fisher). Heads of tokens keep their targets.
    """
    rng = np.random.default_rng(seed)
    found = []
    for row, said in zip(rows, said_in_training(model, feed, rows), strict=True):
        targets = {k: v for k, v in row.targets.items() if model.specs[k].kind not in _LEFT}
        for name in targets:
            kind, numbers = model.specs[name].kind, said.numbers.get(name)
            if numbers is None:
                continue
            values = numbers.astype(np.float64)
            if kind == "classify":
                targets[name] = int(rng.choice(len(values), p=softmax(values)))
            elif kind == "multilabel":
                targets[name] = (rng.random(len(values)) < sigmoid(values)).astype(float).tolist()
            elif kind == "score":
                targets[name] = float(rng.random() < sigmoid(values)[0])
            elif kind == "regress":
                targets[name] = float(values[0] + rng.normal())
        found.append(replace(row, targets=targets, kept=None))
    return found
