"""The seam between a method and the one training loop."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from transformers import TrainerCallback

from shared.finetuning.backbone import HeadedModel
from shared.finetuning.recipe import Recipe

Batch = Mapping[str, Any]


@dataclass(frozen=True)
class HeadPass:
    """What a head's layer read and gave in one pass, for the micro-batch's rows that have its targets."""

    inputs: Tensor
    logits: Tensor


@dataclass(frozen=True)
class Pass:
    """One forward pass over a micro-batch: the sum of its rows' losses, the heads' layers by name, and, in a
    batch with lessons, what the heads say of all its rows, their twins too."""

    loss: Tensor
    heads: Mapping[str, HeadPass]
    said: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Step:
    """One micro-batch: `run` computes loss and gradients and returns the loss, `loss` computes it alone."""

    run: Callable[[Batch], Tensor]
    loss: Callable[[Batch], Tensor]


class Technique(TrainerCallback):  # type: ignore[misc]  # transformers ships no types
    """One method: any of these hooks, or those of a Trainer callback.

    What it remembers between steps goes through `save` and `load`, so that a killed run goes on as if it
    had not been.
    """

    def prepare(self, model: HeadedModel, recipe: Recipe) -> None:
        """Change the model before the optimiser sees it."""

    def extra_loss(self, model: HeadedModel, batch: Batch, outputs: Pass) -> Tensor | None:
        """Return what to add to the loss, summed over the micro-batch's rows; None for nothing.

        The loop divides it by the rows of the whole step, as it does with the model's own loss. A penalty
        on weights is returned times the rows of the micro-batch, so that a step has it once.
        """
        return None

    def around_step(self, step: Step) -> Step:
        """Return the step with something before, after or instead of it."""
        return step

    def save(self, folder: Path) -> None:
        """Write into a checkpoint what the weights don't hold; the main process alone is asked."""

    def load(self, folder: Path) -> None:
        """Read it back."""

    def finish(self, model: HeadedModel) -> None:
        """Take away what training alone needs; called also when it fails."""


def has(techniques: list[Technique], hook: str) -> bool:
    """Return whether any of them overrides this hook."""
    return any(getattr(type(one), hook) is not getattr(Technique, hook) for one in techniques)


@contextmanager
def watched(model: HeadedModel) -> Iterator[dict[str, HeadPass]]:
    """Give a mapping that holds, after a forward pass, what each head's layer read and gave."""
    seen: dict[str, HeadPass] = {}

    def note(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(_: nn.Module, inputs: Any, output: Any) -> None:
            seen[name] = HeadPass(inputs[0], output)

        return hook

    handles = [head.register_forward_hook(note(name)) for name, head in model.heads.items()]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()
