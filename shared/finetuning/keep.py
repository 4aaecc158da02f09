"""The best epoch is kept: scored, saved beside the checkpoints, and put back at the end."""

import json
import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import TrainerCallback

from shared.artifacts.files import write_json
from shared.finetuning import processes
from shared.finetuning.backbone import HeadedModel

Score = Callable[[], dict[str, float]]
BEST, LAST = "best.safetensors", "last.safetensors"


class KeepBest(TrainerCallback):  # type: ignore[misc]  # transformers ships no types
    """At the start and after each epoch: score, keep the best weights, stop when patience is spent.

    The higher score is better, of equal ones the lower loss. Patience counts the epochs since the best epoch;
    a start that was better still is kept, but ends nothing. What it knows is in `folder`, so that a
    resumed run knows it too. `view` shows the weights that count, which may be an average. Of several
    processes the main one scores and writes, and the others learn what came of it; where the weights are
    spread over them all (`weights` gathers them) all score.
    """

    def __init__(
        self,
        model: HeadedModel,
        score: Score,
        folder: Path,
        patience: int | None,
        *,
        view: Callable[[], AbstractContextManager[None]] = nullcontext,
        weights: Callable[[], dict[str, torch.Tensor]] | None = None,
    ) -> None:
        self._model, self._score, self._folder, self._patience = model, score, folder, patience
        self._view, self._weights = view, weights
        self.tell: Callable[[dict[str, float]], None] = lambda _: None  # takes every epoch's figures

    def state(self) -> dict[str, Any]:
        """Return {score, loss, epoch} of the best so far and the curve."""
        try:
            found: dict[str, Any] = json.loads((self._folder / "best.json").read_text("utf-8"))
        except (OSError, ValueError):
            return {"score": -math.inf, "loss": math.inf, "epoch": 0.0, "curve": []}
        return found

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Score the start: the fitted heads may be better than anything tuned."""
        if state.global_step == 0:
            self._considered(0, 0.0)

    def on_epoch_end(self, args: Any, state: Any, control: Any, lr_scheduler: Any = None, **_: Any) -> None:
        """Score, keep, lower the rate of a schedule that waits for a plateau, maybe stop."""
        risen, scores = self._considered(state.global_step, state.epoch)
        if isinstance(lr_scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
            lr_scheduler.step(scores["score"])
        if self._patience and state.epoch - risen >= self._patience - 1e-6:
            control.should_training_stop = True

    def _considered(self, step: int, epoch: float) -> tuple[float, dict[str, float]]:
        alone = self._weights is None
        risen, scores = (
            processes.share(lambda: self._consider(step, epoch)) if alone else self._consider(step, epoch)
        )
        self.tell({f"eval_{name}": value for name, value in scores.items()})
        return risen, scores

    def _consider(self, step: int, epoch: float) -> tuple[float, dict[str, float]]:
        with self._view():
            known, scores = self.state(), self._score()
            curve = [point for point in known["curve"] if point["step"] < step]
            curve.append({"step": step, "epoch": round(epoch, 4), **scores})
            if (scores["score"], -scores["loss"]) > (known["score"], -known["loss"]):
                known |= {"score": scores["score"], "loss": scores["loss"], "epoch": epoch}
                save_weights(
                    self._weights() if self._weights else self._model.state_dict(), self._folder / BEST
                )
            if processes.main():
                write_json(self._folder / "best.json", {**known, "curve": curve})
        # The start may be better than the first epochs, which rise all the same: it does not count.
        tuned = [point for point in curve if point["step"]]
        risen = max(tuned, key=lambda point: (point["score"], -point["loss"]), default=None)
        return float(risen["epoch"]) if risen else 0.0, scores

    def restore(self) -> list[dict[str, float]]:
        """Put the best weights back into the model and return the curve."""
        if self._weights is None:
            self._model.load_state_dict(load_file(self._folder / BEST))
        curve: list[dict[str, float]] = self.state()["curve"]
        return curve


def save_weights(weights: dict[str, torch.Tensor], path: Path) -> None:
    """Write weights aside and rename them; only the main process writes."""
    if processes.main():
        aside = path.with_suffix(".part")
        save_file({n: p.contiguous() for n, p in weights.items()}, aside)
        aside.replace(path)
