"""The second run of `train.refit`: all rows, as many passes as were best in the first."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from shared.finetuning import probe
from shared.finetuning.examples import Example
from shared.finetuning.options import Method, Train
from shared.finetuning.recipe import Recipe


def refitted(
    recipe: Recipe, curves: Mapping[str, Any], train: Sequence[Example], valid: Sequence[Example]
) -> Recipe:
    """Return the recipe of a second run on all rows: as many passes as were best in the first.

    The last counts as best unless an earlier one is better by more than a standard error of so few rows: the
    rate is made to end there. Where the start was best, heads that a frozen base can fit are fitted again.
    """
    if recipe.train.pairs:  # one pass over more pairs
        return recipe
    points = curves["epochs"]
    best = max(points, key=lambda point: (point["score"], -point["loss"])) if points else {"step": 0}
    if points:
        score = min(max(best["score"], 0.0), 1.0)
        error = math.sqrt(score * (1 - score) / max(1, len(valid)))
        best = points[-1] if points[-1]["score"] >= best["score"] - error else best
    rows = len(train) + len(valid)
    fitted = all(head.kind in probe.FROZEN for head in recipe.heads.values())
    fitted = fitted and recipe.continual is None  # a frozen base would forget what went before
    if best["step"] == 0 and fitted:
        frozen = Method(kind="frozen", c=recipe.method.c)
        without = {"train": _plain(recipe.train), "distil": None, "unlabelled": None}
        return Recipe.parse({**recipe.model_dump(), "method": frozen.model_dump(), **without})
    if best["step"] == 0 and recipe.train.blends:  # the end was worth a share of it
        best = points[-1]
    steps = max(1, round(best["step"] * rows / len(train)))
    return recipe.model_copy(update={"train": recipe.train.model_copy(update={"steps": steps})})


def _plain(train: Train) -> dict[str, Any]:
    """Return the options that a frozen body has a use for."""
    kept = ("epochs", "batch", "precision", "seed", "max_tokens", "label_smoothing")
    return {name: getattr(train, name) for name in kept}
