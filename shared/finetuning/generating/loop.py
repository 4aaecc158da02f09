"""The training loop of generators: the Trainer with a loss on replies, a time limit, the best epoch kept."""

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from shared.artifacts.files import write_json
from shared.finetuning import processes
from shared.finetuning.checkpoints import checkpoint
from shared.finetuning.generating.projection import chosen, replies_only, targets
from shared.finetuning.generating.recipe import TRIAL, Generate
from shared.finetuning.loop import Diverged
from shared.finetuning.quiet import quiet
from shared.finetuning.reporting import Bar
from shared.finetuning.sampling import LengthGrouped
from shared.models.generator_card import Kind

SPARE = 0.95  # of the time: saving and the last validation are not measured in steps
Score = Callable[[], dict[str, float]]


class ReplyTrainer(Trainer):  # type: ignore[misc]  # transformers ships no types
    """Trainer whose loss is the summed nats of the reply tokens over their number in the whole step.

    The rate rises over `warmup` steps and falls to zero at `state.max_steps`, which a time limit may
    still lower on the way.
    """

    def __init__(self, *, kind: Kind, warmup: int, **options: Any) -> None:
        self.lr_scheduler: Any = None
        super().__init__(compute_loss_func=partial(_summed, kind=kind), **options)
        self.model_accepts_loss_kwargs = False  # the loss is taken here, not in the model
        self._kind, self._warmup = kind, warmup

    def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **options: Any) -> Any:
        """Return the loss of a micro-batch, with the vocabulary projected at reply positions alone."""
        mask, _ = targets(inputs["labels"], self._kind)
        with replies_only(self.model, mask):
            return super().compute_loss(model, inputs, *args, **options)

    def training_step(self, *args: Any, **options: Any) -> torch.Tensor:
        """Run one micro-batch; raises Diverged before a loss that is no number touches the weights."""
        loss: torch.Tensor = super().training_step(*args, **options)
        if not torch.isfinite(loss):
            raise Diverged(
                f"the loss became {float(loss)} at step {self.state.global_step + 1}; lower rate "
                f"(now {self.args.learning_rate:g}) or look for broken rows, and start again"
            )
        return loss

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        rows = train_dataset or self.train_dataset
        size = self.args.train_batch_size * self.args.gradient_accumulation_steps * processes.count()
        return LengthGrouped([len(row["input_ids"]) for row in rows], size, self.args.seed)

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """Return a line up and a line down."""
        if self.lr_scheduler is None:
            self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer or self.optimizer, self._share)
        return self.lr_scheduler

    def _share(self, step: int) -> float:
        last = int(self.state.max_steps or self.args.max_steps)
        # Nothing of the first steps may depend on the number that a time limit settles later.
        warmup = self._warmup if last >= TRIAL else min(self._warmup, last // 2)
        if step < warmup:
            return (step + 1) / warmup
        return max(0.0, (last - step) / max(1, last - warmup))


def _summed(outputs: Any, labels: torch.Tensor, num_items_in_batch: Any = None, *, kind: Kind) -> Any:
    mask, wanted = targets(labels, kind)
    logits = chosen(outputs.logits, mask).float()
    nats = torch.nn.functional.cross_entropy(logits, wanted, reduction="sum")
    return nats / (len(wanted) if num_items_in_batch is None else num_items_in_batch)


class Budget(TrainerCallback):  # type: ignore[misc]
    """Turns `minutes` into a number of steps after the 20th; a resumed run keeps the number it had."""

    def __init__(self, minutes: float, folder: Path) -> None:
        self._seconds, self._file = 60 * minutes * SPARE, folder / "steps.json"

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Start the clock, or go on with the number that is known."""
        self._start, self._from = time.monotonic(), state.global_step
        if self._file.is_file():
            state.max_steps = int(json.loads(self._file.read_text("utf-8")))

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Settle the number once; at least the steps that are done stay."""
        if state.global_step != TRIAL or self._file.is_file():
            return
        state.max_steps = processes.share(lambda: self._settle(state.max_steps))
        control.should_training_stop = state.global_step >= state.max_steps

    def _settle(self, planned: int) -> int:
        used = time.monotonic() - self._start
        left = int((self._seconds - used) / (used / (TRIAL - self._from)))
        steps = min(planned, TRIAL + max(0, left))
        write_json(self._file, steps)
        return steps


class KeepBest(TrainerCallback):  # type: ignore[misc]
    """At the start and after each epoch: measure, keep the trained weights of the lowest validation loss.

    What it knows is in `folder`, so that a resumed run knows it too. Of several processes the main one
    measures and writes.
    """

    def __init__(self, model: Any, score: Score, folder: Path) -> None:
        self._model, self._score, self._folder = model, score, folder

    def curve(self) -> list[dict[str, float]]:
        """Return `{step, epoch, loss, perplexity}` of each measurement, in order."""
        path = self._folder / "curve.json"
        found: list[dict[str, float]] = json.loads(path.read_text("utf-8")) if path.is_file() else []
        return found

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Measure the base: tuning may make it worse."""
        if state.global_step == 0:
            self._consider(0, 0.0)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Measure and keep; the Trainer comes here too when it stops within an epoch."""
        self._consider(state.global_step, state.epoch)

    def _consider(self, step: int, epoch: float) -> None:
        finite = processes.share(lambda: self._measure(step, epoch))
        if not finite:
            raise Diverged("the base's loss on the validation rows is no number; try another base")

    def _measure(self, step: int, epoch: float) -> bool:
        curve = [point for point in self.curve() if point["step"] < step]
        point = {"step": step, "epoch": round(epoch, 4), **self._score()}
        if not curve and not math.isfinite(point["loss"]):
            return False
        if point["loss"] < min((p["loss"] for p in curve), default=math.inf):
            keep(self._model, self._folder / "best.safetensors")
        write_json(self._folder / "curve.json", [*curve, point])
        return True


def fit(
    model: Any,
    recipe: Generate,
    kind: Kind,
    rows: Sequence[Mapping[str, Any]],
    collator: Any,
    score: Score | None,
    work: Path,
    *,
    progress: bool,
) -> tuple[list[dict[str, float]], list[dict[str, float]], int]:
    """Tune `model` in place; returns (training losses by step, validation curve, steps of the plan).

    Checkpoints go to `work`, and a killed run goes on from the last. The weights with the lowest
    validation loss are left in the model, be they the start's; without `score` the last ones. Raises
    Diverged when the loss is no number.
    """
    work = work.absolute()
    work.mkdir(parents=True, exist_ok=True)
    each = max(1, math.ceil(len(rows) / (recipe.batch * recipe.accumulate * processes.count())))
    steps = min(recipe.steps or each * recipe.epochs, each * recipe.epochs)
    best = KeepBest(model, score, work) if score else None
    callbacks = [*([best] if best else []), *([Budget(recipe.minutes, work)] if recipe.minutes else [])]
    trainer = ReplyTrainer(
        kind=kind,
        warmup=recipe.warmup,
        model=model,
        args=_arguments(recipe, work, steps, each),
        train_dataset=list(rows),
        data_collator=collator,
        callbacks=[*callbacks, *([Bar()] if progress and processes.main() else [])],
    )
    trainer.remove_callback(PrinterCallback)  # it prints on stdout, which belongs to results
    done = work / "done.json"
    if not processes.share(done.is_file):
        with quiet():
            trainer.train(resume_from_checkpoint=processes.share(lambda: checkpoint(work)))
        if processes.main():
            keep(model, work / "last.safetensors")
            logged = [row for row in trainer.state.log_history if "loss" in row]
            losses = [{"step": row["step"], "loss": row["loss"]} for row in logged]
            write_json(done, {"losses": losses, "steps": trainer.state.global_step})
        processes.wait()
    known = json.loads(done.read_text("utf-8"))
    put_back(model, work / ("best.safetensors" if best else "last.safetensors"))
    return known["losses"], best.curve() if best else [], int(known["steps"])


def _arguments(recipe: Generate, work: Path, steps: int, each: int) -> TrainingArguments:
    arguments = TrainingArguments(
        output_dir=str(work),
        max_steps=steps,
        per_device_train_batch_size=recipe.batch,
        gradient_accumulation_steps=recipe.accumulate,
        learning_rate=recipe.rate,
        weight_decay=recipe.weight_decay,
        max_grad_norm=recipe.clip,
        bf16=recipe.precision == "bf16",
        use_cpu=not torch.cuda.is_available(),
        seed=recipe.seed,
        save_strategy="steps",
        save_steps=min(each, 50),
        save_total_limit=1,
        logging_steps=max(1, min(each, steps) // 10),
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        average_tokens_across_devices=True,
    )
    if arguments.n_gpu > 1:  # DataParallel would split a batch under its mask; torchrun uses all of them
        arguments._n_gpu = 1
    return arguments


def keep(model: Any, path: Path) -> None:
    """Write the trained weights, and only these, aside and then to `path`."""
    aside = path.with_suffix(".part")
    trained = {n: p.detach().cpu().contiguous() for n, p in model.named_parameters() if p.requires_grad}
    save_file(trained, aside)
    aside.replace(path)


def put_back(model: Any, path: Path) -> None:
    """Set the weights that `keep` wrote."""
    stored = load_file(path)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name in stored:
                parameter.copy_(stored[name])
