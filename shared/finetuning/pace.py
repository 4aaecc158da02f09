"""Minutes become steps: a rehearsal of a few steps tells how many fit."""

import copy
import json
import math
import random
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from shared.artifacts.files import write_json
from shared.finetuning import blending, probe, processes, token_probe
from shared.finetuning.backbone import HeadedModel
from shared.finetuning.collate import Collator
from shared.finetuning.examples import Example
from shared.finetuning.preparing import time_share
from shared.finetuning.progress import bar
from shared.finetuning.recipe import Recipe

REHEARSAL = 20  # steps
SHARE = 5  # a rehearsal takes at most one in so many of the training's steps
SHORT, PART = 3, 0.1  # a rehearsal ends after this many steps when they took this part of the minutes
FILE = "pace.json"
WORDS = 20  # of a tagged row, as a rule
READING = 0.25  # of the minutes for the rows that heads are first fitted on; a blend then takes .15 at most
FEWEST = 2000  # such rows, however short the time
LEAST = 0.5  # of the minutes is kept for steps, whatever is read beside them
_FORWARD = 1 / 3  # of a step: what a row that is only read costs beside one that is learnt from


def paced(
    recipe: Recipe,
    model: HeadedModel,
    collator: Collator,
    train: Sequence[Example],
    valid: int,
    whole: int,
    work: Path,
) -> Recipe:
    """Return the recipe with `steps` and `start_rows` in place of minutes; as it is without minutes or where
    no body is trained."""
    if recipe.train.minutes is None or recipe.method.kind == "frozen" or recipe.train.steps:
        return recipe
    # Two runs share the time, and so do models that are trained first.
    parts = (2.2 if recipe.train.refit else 1) * time_share(recipe)
    recipe = _with(recipe, minutes=recipe.train.minutes / parts)
    fits = processes.share(lambda: fitting(recipe, model, collator, train, valid, whole, work))
    return _with(recipe, **fits, minutes=None)


def _with(recipe: Recipe, **changes: object) -> Recipe:
    return recipe.model_copy(update={"train": recipe.train.model_copy(update=changes)})


def fitting(
    recipe: Recipe,
    model: HeadedModel,
    collator: Collator,
    train: Sequence[Example],
    valid: int,
    whole: int,
    work: Path,
) -> dict[str, int | None]:
    """Return what of a training fits into `train.minutes`: `steps`, at least 20, and `start_rows`; both None
    where all `whole` steps fit beside all that is read.

    What is read beside steps counts too: `valid` validation rows an epoch, the training rows that heads are
    first fitted on, the validation rows for each share of a blend. Where the fit would take more than READING
    of the minutes, `start_rows` are as many as that allows, at least FEWEST; LEAST of the minutes stays for
    steps.

    20 steps are run on a copy and thrown away; a fifth of the training's, but three, where that is less;
    three where they are long beside the minutes; none where the training has no more than 20. What was found
    is kept in `work`, so that a run that is resumed keeps its numbers.
    """
    if whole <= REHEARSAL:
        return {"steps": None, "start_rows": recipe.train.start_rows}
    known = work / FILE
    if known.is_file():
        kept = json.loads(known.read_text("utf-8"))
        return {"steps": kept["steps"], "start_rows": kept.get("start_rows")}
    rehearsal = min(REHEARSAL, max(SHORT, whole // SHARE))
    alone = _seconds(recipe, model, collator, train, rehearsal)
    fits = _fitting(recipe, model, alone, len(train), valid, whole)
    write_json(known, {**fits, "seconds_per_row": alone})
    return fits


def _fitting(
    recipe: Recipe, model: HeadedModel, alone: float, train: int, valid: int, whole: int
) -> dict[str, int | None]:
    """Return `steps` and `start_rows` where a row alone takes so many seconds, forwards and backwards."""
    time_left, asked = 60 * float(recipe.train.minutes or 0), recipe.train.start_rows
    forward = max(_FORWARD * alone, 1e-12)
    step = recipe.train.batch * recipe.train.accumulate * (alone + forward * valid / max(train, 1))

    def steps_with(start_rows: int | None) -> int:
        beside = forward * _read_beside(recipe, model, train, valid, start_rows)
        return math.floor(max(time_left - beside, LEAST * time_left) / max(step, 1e-9))

    if steps_with(asked) >= whole:
        return {"steps": None, "start_rows": asked}
    most = max(FEWEST, math.floor(READING * time_left / forward))
    if most < min(train, asked or probe.MOST) and _read_beside(recipe, model, train, valid, asked):
        asked = most
    return {"steps": min(whole, max(REHEARSAL, steps_with(asked))), "start_rows": asked}


def _read_beside(recipe: Recipe, model: HeadedModel, train: int, valid: int, start_rows: int | None) -> int:
    """Return about how many rows are read before the first step and after the last."""
    kinds = {spec.kind for name, spec in model.specs.items() if name not in model.inherited}
    most = 0
    if recipe.train.start == "frozen" and kinds.intersection((*probe.FITTED, "similarity")):
        most = start_rows or probe.MOST
    elif recipe.train.start == "frozen" and kinds.intersection(token_probe.FITTED):
        most = token_probe.MOST // WORDS
    compared = len(blending.SHARES) * blending.looked_at(valid, start_rows)
    return min(train, most) + (compared if recipe.train.blend == "auto" else 0)


def _seconds(
    recipe: Recipe, model: HeadedModel, collator: Collator, train: Sequence[Example], steps: int
) -> float:
    """Return the seconds that a row takes, forwards and backwards, in so many steps."""
    size, device = recipe.train.batch, next(model.parameters()).device
    order = random.Random(recipe.train.seed)  # noqa: S311 - a sample, not a secret
    trial = copy.deepcopy(model).train()
    with torch.random.fork_rng(devices=[]), bar("timing steps", steps + 2, "step") as stepped:
        started, rows = 0.0, 0
        for step in range(steps + 2):
            if step == 2:  # the first steps pay for what is made once
                started, rows = time.monotonic(), 0
            if step >= 2 + SHORT and time.monotonic() - started > PART * 60 * float(
                recipe.train.minutes or 0
            ):
                break
            chosen = order.sample(range(len(train)), min(size, len(train)))
            batch = _to(collator([train[i] for i in chosen]), device)
            with torch.autocast(device.type, torch.bfloat16, recipe.train.precision == "bf16"):
                loss = trial(**batch)["loss"]
            loss.backward()
            rows += len(chosen)
            stepped(1)
    return (time.monotonic() - started) / rows


def _to(batch: object, device: torch.device) -> dict[str, object]:
    def moved(value: object) -> object:
        if isinstance(value, torch.Tensor):
            return value.to(device)
        return {k: moved(v) for k, v in value.items()} if isinstance(value, dict) else value

    found = moved(batch)
    assert isinstance(found, dict)  # noqa: S101 - a collator gives a dict
    return found
