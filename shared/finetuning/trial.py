"""One trial of a search: a recipe trained and scored on its validation rows, nothing kept."""

import math
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.finetuning.methods.technique import Technique
from shared.finetuning.recipe import Recipe
from shared.finetuning.rows import Rows
from shared.finetuning.train import open_training
from shared.finetuning.validate import validate

Watch = Callable[[int, float], None]


@dataclass(frozen=True)
class Scored:
    """The best validation score (0 to 1) of a training, the loss there, and how many epochs were scored."""

    score: float
    loss: float
    epochs: int = 0


class Scores(Technique):
    """Tells every validation score as (epoch, score), epoch 0 being the start; what that raises ends the
    training."""

    def __init__(self, tell: Watch) -> None:
        self._tell = tell

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """Pick the scores out of what is logged; a last epoch that ends early counts as a whole one."""
        if "eval_score" in (logs or {}):
            self._tell(math.ceil((state.epoch or 0) - 1e-6), float(logs["eval_score"]))


def scored(
    recipe: Recipe, data: Mapping[str, Rows], home: Path, work: Path, watch: Watch, progress: bool
) -> Scored:
    """Train a recipe as `finetune` does, and return its best validation score.

    A killed trial goes on from its last epoch; its folder in `work` goes when it has ended, whatever the
    end. Raises BadInput, Diverged and what `watch` raises.
    """
    opened = open_training(recipe, data, home=home, work=work, progress=progress)
    try:
        recipe, curves = opened.tune(progress=progress, watchers=[Scores(watch)])
    except Exception:
        shutil.rmtree(opened.place, ignore_errors=True)
        raise
    shutil.rmtree(opened.place, ignore_errors=True)
    points = curves["epochs"]
    epochs = max(0, len(points) - 1)
    if not points or recipe.train.blends:  # the curve is of the weights before they were blended
        points = [validate(opened.model, opened.feed, opened.valid, recipe.train.precision)]
    best = max(points, key=lambda point: (point["score"], -point["loss"]))
    return Scored(best["score"], best["loss"], epochs)
