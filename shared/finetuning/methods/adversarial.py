"""Adversarial training on word vectors: FGM and PGD."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from shared.finetuning.backbone import HeadedModel
from shared.finetuning.methods.technique import Batch, Step, Technique
from shared.finetuning.options import Adversarial
from shared.finetuning.recipe import Recipe

_REACH = 2.5  # PGD's steps together are so many radii long, as in Madry et al.


class Attack(Technique):
    """After a pass over the words as they are, one over the words moved against the model; gradients add up.

    It moves the word vectors of this batch, not the embedding matrix: the gradients there are those of
    one row each, whatever the accumulation and the number of processes, and they exist under LoRA too.
    """

    def __init__(self, options: Adversarial) -> None:
        self._options = options
        self._gradients: list[Tensor] = []
        self._moved: Tensor | None = None
        self._watching = False
        self._handle: Any = None

    def prepare(self, model: HeadedModel, recipe: Recipe) -> None:
        """Listen to the word embeddings, which then see whole batches: a move has the shape of one."""
        model.whole = True
        self._handle = model.get_input_embeddings().register_forward_hook(self._embedded)

    def finish(self, model: HeadedModel) -> None:
        """Listen no more."""
        model.whole = False
        if self._handle:
            self._handle.remove()

    def around_step(self, step: Step) -> Step:
        """Return the clean step with the attacked one behind it; its loss is the clean one."""

        def run(batch: Batch) -> Tensor:
            loss = self._clean(step.run, batch)
            # Several passes over one batch (R-Drop) add up.
            moved = _towards(torch.stack(self._gradients).sum(0), self._length())
            for _ in range(self._options.steps - 1 if self._options.kind == "pgd" else 0):
                moved = self._climbed(step.loss, batch, moved)
            self._moved = moved
            try:
                step.run(batch)
            finally:
                self._moved = None
            return loss

        return replace(step, run=run)

    def _length(self) -> float:
        pgd = self._options.kind == "pgd"
        return self._options.epsilon * (min(1.0, _REACH / self._options.steps) if pgd else 1.0)

    def _clean(self, run: Callable[[Batch], Tensor], batch: Batch) -> Tensor:
        self._watching, self._gradients = True, []
        try:
            return run(batch)
        finally:
            self._watching = False

    def _climbed(self, loss: Callable[[Batch], Tensor], batch: Batch, moved: Tensor) -> Tensor:
        # Gradients of the move alone: the weights' own stay as they are.
        self._moved = moved.requires_grad_()
        try:
            (gradient,) = torch.autograd.grad(loss(batch), [self._moved])
        finally:
            self._moved = None
        further = moved.detach() + _towards(gradient, self._length())
        norms = _norms(further)
        return further * (self._options.epsilon / norms.clamp(min=self._options.epsilon))

    def _embedded(self, module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        if self._moved is not None:
            return output + self._moved.to(output.dtype)
        if self._watching:
            if not output.requires_grad:  # embeddings at rest
                output.requires_grad_()
            output.register_hook(self._caught)  # type: ignore[no-untyped-call]
        return output

    def _caught(self, gradient: Tensor) -> None:
        self._gradients.append(gradient.detach().float())


def _norms(rows: Tensor) -> Tensor:
    found: Tensor = torch.linalg.vector_norm(rows, dim=(1, 2), keepdim=True)
    return found.clamp(min=1e-12)


def _towards(gradient: Tensor, length: float) -> Tensor:
    return length * gradient / _norms(gradient)
