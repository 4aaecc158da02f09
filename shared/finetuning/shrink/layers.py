"""Fewer layers: some of the body's are kept, and what is left learns the original's outputs again."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from shared.finetuning import depth, loop
from shared.finetuning.backbone import HeadedModel
from shared.finetuning.collate import Collator
from shared.finetuning.examples import Example
from shared.finetuning.feeding import Feed
from shared.finetuning.methods.technique import Batch, Pass, Technique
from shared.finetuning.recipe import Recipe
from shared.models.batching import batches
from shared.models.heads import BY_TOKEN


def drop(model: HeadedModel, kept: Sequence[int]) -> None:
    """Keep these layers of the body, counted from 0 at the bottom, in their order; raises BadInput.

    Which ones matter less than their being spread over the depth (Sajjad et al. 2023).
    """
    depth.keep(model.encoder, kept)


class Echo(Technique):
    """The loss of giving other outputs than the original on the same tokens; the rows need no labels."""

    def __init__(self, original: HeadedModel) -> None:
        self._original = original
        self._tokens: Tensor | None = None

    def prepare(self, model: HeadedModel, recipe: Recipe) -> None:
        """Remember the token rows of each pass, one a batch, so that the body runs once."""
        self._original.to(next(model.parameters()).device).eval()
        model.whole = True
        self._handle = model.encoder.register_forward_hook(self._note)

    def _note(self, _: nn.Module, inputs: object, output: object) -> None:
        self._tokens = output.last_hidden_state  # type: ignore[attr-defined]

    def extra_loss(self, model: HeadedModel, batch: Batch, outputs: Pass) -> Tensor:
        """Return the distance of all heads' outputs from the original's, summed over rows."""
        assert self._tokens is not None  # noqa: S101 - a pass came before
        mask = batch["attention_mask"]
        own = model.outputs(self._tokens, model.pooled(self._tokens, mask))
        return distance(model, own, original_outputs(self._original, batch), mask)

    def finish(self, model: HeadedModel) -> None:
        """Stop remembering."""
        model.whole = False
        self._handle.remove()
        self._tokens = None


def original_outputs(original: HeadedModel, batch: Batch) -> dict[str, Tensor]:
    """Return what the original says of a batch, without gradients."""
    names = ("input_ids", "attention_mask", "token_type_ids")
    with torch.no_grad():
        tokens = original.tokens(**{name: batch[name] for name in names if name in batch})
        return original.outputs(tokens, original.pooled(tokens, batch["attention_mask"]))


def distance(model: HeadedModel, own: dict[str, Tensor], wanted: dict[str, Tensor], mask: Tensor) -> Tensor:
    """Return how far outputs are from those wanted, summed over rows and heads: Kullback-Leibler divergence
    for classify, tag and entity (a mean over a row's tokens), 1 - cosine for vectors, squared error else."""
    total = torch.zeros((), device=mask.device)
    for name in own:
        spec = model.specs[name]
        one, other = own[name].float(), wanted[name].float()
        if spec.kind == "embed":
            far = 1 - (one * other).sum(-1)
        elif spec.kind in ("classify", "tag", "entity"):
            logs = functional.log_softmax(one, dim=-1)
            far = functional.kl_div(logs, other.softmax(-1), reduction="none").sum(-1)
        else:
            far = (one - other).square().mean(-1)
        if spec.kind in BY_TOKEN:
            far = (far * mask).sum(1) / mask.sum(1)
        total = total + far.sum()
    return total


def teach(
    model: HeadedModel,
    original: HeadedModel,
    feed: Feed,
    rows: Sequence[Example],
    recipe: Recipe,
    work: Path,
    *,
    progress: bool,
) -> float:
    """Tune `model` in place towards the original's outputs on the rows; returns the mean distance at the end.

    Every tenth row is held out: the epoch nearest to the original on these is kept.
    """
    held, train = list(rows[::10]), [row for i, row in enumerate(rows) if i % 10]
    collate = Collator(list(model.specs.values()), feed)
    echo = Echo(original)
    echo.prepare(model, recipe)

    def score() -> dict[str, float]:
        far = _distance_on(model, original, collate, held)
        return {"score": -far, "loss": far}

    try:
        _, curve = loop.fit(model, recipe, train, collate, score, work, techniques=[echo], progress=progress)
    finally:
        echo.finish(model)
    return min(point["loss"] for point in curve)


def _distance_on(
    model: HeadedModel, original: HeadedModel, collate: Collator, rows: Sequence[Example]
) -> float:
    training, total = model.training, 0.0
    device = next(model.parameters()).device
    model.eval()
    with torch.no_grad():
        for places in batches([len(row.text) + len(row.pair or "") for row in rows]):
            made = collate([rows[i] for i in places])
            batch = {n: part.to(device) for n, part in made.items() if isinstance(part, Tensor)}
            own = original_outputs(model, batch)
            wanted = original_outputs(original, batch)
            total += float(distance(model, own, wanted, batch["attention_mask"]))
    model.train(training)
    return total / max(1, len(rows))
