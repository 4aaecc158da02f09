"""What a training says while it runs: a bar and JSON lines; TensorBoard, Weights & Biases where asked."""

import importlib.util
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tqdm import tqdm
from transformers import TrainerCallback

from shared.errors import BadInput

STEPS = "steps.jsonl"
PROJECT = "trillium"


class Bar(TrainerCallback):  # type: ignore[misc]  # transformers ships no types
    """A progress bar on stderr: steps, rate, time left, the last loss."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Show the bar, at the step where a resumed run goes on."""
        self._bar = tqdm(total=state.max_steps, initial=state.global_step, desc="fine-tuning", unit="step")

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Move it."""
        self._bar.update(state.global_step - self._bar.n)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """Show the loss."""
        if "loss" in (logs or {}):
            self._bar.set_postfix(loss=f"{logs['loss']:.3f}", refresh=False)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Leave it as it is."""
        self._bar.close()


class StepsLog(TrainerCallback):  # type: ignore[misc]
    """One JSON line per log: step, epoch, and loss, gradient norm and rate, or `eval_` figures."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Drop what a killed run wrote after the checkpoint that this one goes on from."""
        lines = self._path.read_text("utf-8").splitlines() if self._path.is_file() else []
        kept = [line for line in lines if state.global_step and _step(line) <= state.global_step]
        self._path.write_text("".join(f"{line}\n" for line in kept), "utf-8")

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """Write one line."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": state.global_step, **(logs or {})}) + "\n")


def _step(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError):  # cut off by the kill
        return float("inf")


def check_trackers(names: Sequence[str]) -> None:
    """Raise BadInput for a tracker that is not installed."""
    for name in names:
        if importlib.util.find_spec(name) is None:
            raise BadInput(
                f'train.track names "{name}", which is not installed; install the extra "track" '
                "(pip install 'trillium-suite[track]') or drop it"
            )


@contextmanager
def trackers(names: Sequence[str], folder: Path, settings: dict[str, Any]) -> Iterator[list[TrainerCallback]]:
    """Give the callbacks of the programs named, which write below `folder`, with the recipe as `settings`.

    Weights & Biases works offline unless WANDB_MODE says else; `wandb sync` sends a run later.
    """
    check_trackers(names)
    found: list[TrainerCallback] = []
    run: Any = None
    if names:
        folder.mkdir(parents=True, exist_ok=True)
    if "tensorboard" in names:
        from torch.utils.tensorboard import SummaryWriter
        from transformers.integrations import TensorBoardCallback

        found.append(TensorBoardCallback(SummaryWriter(log_dir=str(folder / "tensorboard"))))
    if "wandb" in names:
        import wandb
        from transformers.integrations import WandbCallback

        run = wandb.init(
            project=PROJECT,
            dir=str(folder),
            mode=os.environ.get("WANDB_MODE", "offline"),  # type: ignore[arg-type]
            config=settings,
            settings=wandb.Settings(silent=True, console="off"),
        )
        found.append(WandbCallback())
    try:
        yield found
    finally:
        if run is not None:
            run.finish()
