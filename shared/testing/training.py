"""What tests look at in a training: a step's gradient, and how far two trained models are apart."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from transformers import TrainerCallback, TrainingArguments


class GradientNorm(TrainerCallback):  # type: ignore[misc]  # transformers ships no types
    """Keeps the gradient's norm before each step in `found`."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self.found: list[float] = []

    def on_pre_optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Read it."""
        gradients = [p.grad for p in self._model.parameters() if p.grad is not None]
        self.found.append(math.sqrt(sum(float(g.square().sum()) for g in gradients)))


def one_step(folder: Path, batch: int, accumulate: int) -> TrainingArguments:
    """Return the arguments of one step on the CPU, rows in their order, nothing clipped, saved or told."""
    return TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=batch,
        gradient_accumulation_steps=accumulate,
        max_steps=1,
        max_grad_norm=0,
        use_cpu=True,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        train_sampling_strategy="sequential",
        dataloader_pin_memory=False,
    )


def apart(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> float:
    """Return the distance of two sets of weights over the length of the second, 0 or more.

    Two processes add up in another order where their numbers lie otherwise in memory; Adam makes that as
    large as 1e-4 in single weights of a long training, never in all of them together.
    """
    assert one.keys() == other.keys()
    square = sum(float((one[name].float() - other[name].float()).square().sum()) for name in other)
    return math.sqrt(square / sum(float(other[name].float().square().sum()) for name in other))
