"""The training loop: Hugging Face's Trainer with two learning rates, a curve, and the best epoch kept."""

import json
import math
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from tqdm import tqdm
from transformers import PreTrainedTokenizerBase, PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from shared.errors import TrilliumError
from shared.finetuning.backbone import HeadedModel
from shared.finetuning.examples import Collator, Example
from shared.finetuning.recipe import Recipe

Score = Callable[[], dict[str, float]]
BEST = "best.safetensors"


class Diverged(TrilliumError):
    """The loss is no number any more; the last good checkpoint is kept."""

    exit_code, title = 1, "Training diverged"


class HeadsTrainer(Trainer):  # type: ignore[misc]  # transformers ships no types
    """Trainer with a rate of its own for the heads; no decay on biases and norms."""

    def __init__(self, *, head_rate: float, **options: Any) -> None:
        self.optimizer: torch.optim.Optimizer | None = None
        super().__init__(**options)
        self._head_rate = head_rate

    def create_optimizer(self, model: torch.nn.Module | None = None) -> torch.optim.Optimizer:
        """Return AdamW over four groups: backbone or heads, decayed or not."""
        if self.optimizer is None:
            groups: dict[tuple[bool, bool], list[torch.nn.Parameter]] = {}
            for name, parameter in self.model.named_parameters():
                if parameter.requires_grad:
                    plain = parameter.ndim < 2
                    groups.setdefault(("heads." in name, plain), []).append(parameter)
            self.optimizer = torch.optim.AdamW(
                [
                    {
                        "params": parameters,
                        "lr": self._head_rate if head else self.args.learning_rate,
                        "weight_decay": 0.0 if plain else self.args.weight_decay,
                    }
                    for (head, plain), parameters in groups.items()
                ]
            )
        return self.optimizer


class Bar(TrainerCallback):  # type: ignore[misc]
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


class KeepBest(TrainerCallback):  # type: ignore[misc]
    """After each epoch: score on validation rows, keep the best weights, stop when patience is spent."""

    def __init__(self, model: HeadedModel, score: Score, folder: Path, patience: int | None) -> None:
        self._model, self._score, self._folder, self._patience = model, score, folder, patience

    def _state(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads((self._folder / "best.json").read_text("utf-8"))
        except (OSError, ValueError):
            return {"loss": math.inf, "epoch": 0.0, "curve": []}
        return found

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """Stop at a loss that is no number."""
        loss = (logs or {}).get("loss")
        if loss is not None and not math.isfinite(loss):
            raise Diverged(
                f"the loss is {loss} at step {state.global_step}; the best weights so far are in "
                f"{self._folder}. Lower train.rate, or look for broken rows"
            )

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Score, keep, maybe stop."""
        known = self._state()
        scores = self._score()
        curve = [point for point in known["curve"] if point["step"] < state.global_step]
        curve.append({"step": state.global_step, "epoch": state.epoch, **scores})
        if scores["loss"] < known["loss"]:
            known |= {"loss": scores["loss"], "epoch": state.epoch}
            aside = self._folder / f"{BEST}.part"
            save_file({n: p.contiguous() for n, p in self._model.state_dict().items()}, aside)
            aside.replace(self._folder / BEST)
        (self._folder / "best.json").write_text(json.dumps({**known, "curve": curve}), "utf-8")
        if self._patience and state.epoch - known["epoch"] >= self._patience - 1e-6:
            control.should_training_stop = True

    def restore(self) -> list[dict[str, float]]:
        """Put the best weights back into the model and return the curve."""
        if (self._folder / BEST).is_file():
            self._model.load_state_dict(load_file(self._folder / BEST))
        curve: list[dict[str, float]] = self._state()["curve"]
        return curve


def fit(
    model: HeadedModel,
    recipe: Recipe,
    train: Sequence[Example],
    collator: Collator,
    score: Score,
    work: Path,
    *,
    progress: bool,
) -> tuple[list[dict[str, float]], list[dict[str, float]]]:
    """Tune `model` in place; returns (steps with their training loss, validation curve by epoch).

    Checkpoints go to `work` once an epoch, and a killed run goes on from the last. Raises Diverged
    when the loss is no number.
    """
    options, work = recipe.train, work.absolute()
    work.mkdir(parents=True, exist_ok=True)
    steps = max(1, math.ceil(len(train) / (options.batch * options.accumulate)))
    arguments = TrainingArguments(
        output_dir=str(work),
        num_train_epochs=float(options.epochs),
        per_device_train_batch_size=options.batch,
        gradient_accumulation_steps=options.accumulate,
        learning_rate=options.rate,
        lr_scheduler_type=options.schedule,
        warmup_steps=options.warmup,
        weight_decay=options.weight_decay,
        max_grad_norm=options.clip,
        bf16=options.precision == "bf16",
        use_cpu=not torch.cuda.is_available(),
        seed=options.seed,
        save_strategy="epoch",
        save_total_limit=1,
        logging_steps=max(1, steps // 10),
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        average_tokens_across_devices=False,
    )
    keep = KeepBest(model, score, work, options.patience)
    trainer = HeadsTrainer(
        model=model,
        args=arguments,
        train_dataset=list(train),
        data_collator=collator,
        callbacks=[keep, *([Bar()] if progress else [])],
        head_rate=options.head_rate,
    )
    trainer.remove_callback(PrinterCallback)  # it prints on stdout, which belongs to results
    trainer.train(resume_from_checkpoint=_checkpoint(work))
    losses = [
        {"step": row["step"], "loss": row["loss"]} for row in trainer.state.log_history if "loss" in row
    ]
    return losses, keep.restore()


def _checkpoint(work: Path) -> str | None:
    whole = []
    for folder in work.glob("checkpoint-*"):
        if (folder / "trainer_state.json").is_file():  # the last file that is written
            whole.append(folder)
        else:
            shutil.rmtree(folder)
    newest = max(whole, key=lambda folder: int(folder.name.split("-")[1]), default=None)
    return str(newest) if newest else None


def tokenizing(tokenizer: PreTrainedTokenizerBase, max_tokens: int) -> Callable[[Sequence[str]], Any]:
    """Return what turns texts into padded tensors of at most `max_tokens` tokens."""

    def tokenize(texts: Sequence[str]) -> dict[str, torch.Tensor]:
        fed = tokenizer(
            list(texts), padding=True, truncation=True, max_length=max_tokens, return_tensors="pt"
        )
        return {"input_ids": fed["input_ids"], "attention_mask": fed["attention_mask"]}

    return tokenize
