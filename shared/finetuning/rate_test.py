"""Rate "auto": a rehearsal with an exponentially rising rate tells which one to train with.

Smith 2017, Cyclical Learning Rates for Training Neural Networks, section 3.3: a few steps with a rising rate
show where the loss falls and where it begins to grow. The rule is near the one that fastai made common, a
tenth of the rate at which the loss is lowest; but where it hardly changes over a wide range, and the lowest
place in it is chance, the upper end of that range counts.
"""

import copy
import json
import math
import random
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from shared.artifacts.files import write_json
from shared.finetuning import loop, processes
from shared.finetuning.backbone import HeadedModel
from shared.finetuning.collate import Collator
from shared.finetuning.examples import Example
from shared.finetuning.methods.build import techniques
from shared.finetuning.methods.technique import Batch, Step, Technique
from shared.finetuning.recipe import Recipe
from shared.telemetry import logger

LOW, HIGH = 1e-6, 1e-1
STEPS = 100
FILE = "rate.json"
_WINDOW = 9  # steps: the losses of single batches differ more than those of neighbouring rates
_LOG = logger(__name__)

Start = Callable[[HeadedModel, Recipe, list[Technique]], list[Example]]


class Rising(Technique):
    """Moves the body's rate from `LOW` to `HIGH` in `STEPS` steps and notes (rate, loss) of each; the heads
    keep theirs. Past the middle it ends the training when the loss is above its start."""

    def __init__(self) -> None:
        self.found: list[tuple[float, float]] = []
        self._loss = 0.0
        self._groups: list[tuple[dict[str, Any], float]] = []

    def on_train_begin(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Find the body's rates; those of lower layers may be smaller."""
        body = {id(parameter) for parameter in given["model"].encoder.parameters()}
        groups = given["optimizer"].param_groups
        self._groups = [(g, g["lr"] / args.learning_rate) for g in groups if id(g["params"][0]) in body]

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Set the rate of this step."""
        self._loss = 0.0
        for group, share in self._groups:
            group["lr"] = share * rate_at(state.global_step)

    def around_step(self, step: Step) -> Step:
        """Return the step with its loss noted; one that is no number ends the rehearsal and not with an
        error."""

        def run(batch: Batch) -> Tensor:
            loss = step.run(batch)
            self._loss += float(loss)
            return loss if math.isfinite(float(loss)) else torch.zeros_like(loss)

        return replace(step, run=run)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Note the loss and look whether that is enough; all processes hear the main one's."""
        loss = processes.share(lambda: self._loss if math.isfinite(self._loss) else None)
        if loss is not None:
            self.found.append((rate_at(state.global_step - 1), loss))
        losses = [one for _, one in self.found]
        lost = state.global_step > STEPS // 2 and np.mean(losses[-_WINDOW:]) > np.mean(losses[:_WINDOW])
        control.should_training_stop = loss is None or bool(lost) or state.global_step >= STEPS


def rate_at(step: int) -> float:
    """Return the rate of a step, from 0."""
    return float(LOW * (HIGH / LOW) ** (step / (STEPS - 1)))


def picked(found: Sequence[tuple[float, float]]) -> float:
    """Return a tenth of the rate up to which the loss, averaged over its neighbours, stays lowest.

    From the lowest mean (of equal ones that of the lower rate) it goes up while the mean is not above it by
    more than the standard error of such a mean. Two digits are kept, so that the last bits of a loss don't
    change the rate; never below `LOW`.
    """
    if not found:
        return LOW
    losses, half = np.asarray([loss for _, loss in found]), _WINDOW // 2
    means = np.asarray([losses[max(0, i - half) : i + half + 1].mean() for i in range(len(losses))])
    at = int(np.argmin(means))
    near = means[at] + (losses - means).std() / math.sqrt(_WINDOW)
    while at + 1 < len(means) and means[at + 1] <= near:
        at += 1
    return max(LOW, float(f"{found[at][0] / 10:.1e}"))


def with_rate(
    recipe: Recipe,
    model: HeadedModel,
    collator: Collator,
    train: Sequence[Example],
    work: Path,
    start: Start,
) -> Recipe:
    """Return the (resolved) recipe with a number in place of rate "auto".

    `start(copy, recipe, techniques)` prepares the copy that is rehearsed on and returns its rows. The model
    and all random numbers are as before; the same seed gives the same rate. Its seconds are taken from
    `minutes`, at most half of them. What was found is kept in `work` with all rates and losses.
    """
    known = work / FILE
    if not processes.share(known.is_file):
        began = time.monotonic()
        with _undisturbed():
            found = _rehearsed(recipe, model, collator, work, start)
        told = {"rate": picked(found), "seconds": time.monotonic() - began, "steps": found}
        if processes.main():
            write_json(known, told)
            _LOG.info("found a rate", rate=told["rate"], steps=len(found))
        processes.wait()
    kept = processes.share(lambda: json.loads(known.read_text("utf-8")))
    changes: dict[str, Any] = {"rate": kept["rate"]}
    if recipe.train.minutes is not None:
        changes["minutes"] = max(recipe.train.minutes - kept["seconds"] / 60, recipe.train.minutes / 2)
    return recipe.model_copy(update={"train": recipe.train.model_copy(update=changes)})


def _rehearsed(
    recipe: Recipe, model: HeadedModel, collator: Collator, work: Path, start: Start
) -> list[tuple[float, float]]:
    folder = work / "rehearsal"
    if processes.main():
        shutil.rmtree(folder, ignore_errors=True)
    processes.wait()
    trial, rising = copy.deepcopy(model), Rising()
    trial.to("cuda" if torch.cuda.is_available() else "cpu")
    parts = [*techniques(_for_rehearsal(recipe, 1), steps=STEPS), rising]
    try:
        rows = start(trial, _for_rehearsal(recipe, 1), parts)
        batch = recipe.train.batch * recipe.train.accumulate * processes.count()
        own = _for_rehearsal(recipe, math.ceil(STEPS / max(1, math.ceil(len(rows) / batch))))
        loop.fit(trial, own, rows, collator, None, folder, techniques=parts, progress=False)
    finally:
        for part in parts:
            part.finish(trial)
    processes.wait()
    if processes.main():
        shutil.rmtree(folder, ignore_errors=True)
    return rising.found


def _for_rehearsal(recipe: Recipe, epochs: int) -> Recipe:
    changes = {
        "rate": LOW,
        "schedule": "constant",
        "warmup": 0.0,
        "epochs": epochs,
        "steps": STEPS,
        "minutes": None,
        "unfreeze": 0,
        "average": None,
        "refit": False,
        "track": [],
    }
    return recipe.model_copy(update={"train": recipe.train.model_copy(update=changes)})


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Leave every generator of random numbers as it was."""
    plain, numbers = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        try:
            yield
        finally:
            random.setstate(plain)
            np.random.set_state(numbers)
