"""The training loop: Hugging Face's Trainer with the recipe's rates and techniques, the best epoch kept."""

import functools
import json
import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
import torch.utils.data
from safetensors.torch import load_file
from transformers import PrinterCallback, Trainer, TrainingArguments

from shared.artifacts.files import write_json
from shared.errors import BadInput, TrilliumError
from shared.finetuning import processes
from shared.finetuning.backbone import HeadedModel
from shared.finetuning.checkpoints import checkpoint
from shared.finetuning.collate import Collator
from shared.finetuning.examples import Example
from shared.finetuning.keep import BEST, LAST, KeepBest, Score, save_weights
from shared.finetuning.methods.average import Averaged
from shared.finetuning.methods.rates import optimiser
from shared.finetuning.methods.technique import Batch, Pass, Step, Technique, has, watched
from shared.finetuning.options import Train
from shared.finetuning.partners import Partnered
from shared.finetuning.recipe import Recipe
from shared.finetuning.reporting import STEPS, Bar, StepsLog, trackers
from shared.finetuning.sampling import LengthGrouped, Mixed

DONE = "done.json"


class Diverged(TrilliumError):
    """The loss is no number any more."""

    exit_code, title = 1, "Training diverged"


class HeadsTrainer(Trainer):  # type: ignore[misc]  # transformers ships no types
    """Trainer with rates by head and layer, techniques around its steps, batches of texts of like length, and
    an end with a reason when the loss is no number."""

    def __init__(
        self,
        *,
        options: Train,
        techniques: Sequence[Technique] = (),
        partners: str | None = None,
        **given: Any,
    ) -> None:
        self.optimizer: torch.optim.Optimizer | None = None
        self.lr_scheduler: Any = None
        self._options, self._techniques, self._partners = options, list(techniques), partners
        self._extra = has(self._techniques, "extra_loss")
        super().__init__(**given)
        self.neftune_noise_alpha = options.noise or None
        for technique in self._techniques:
            self.add_callback(technique)

    def create_optimizer(self, model: torch.nn.Module | None = None) -> torch.optim.Optimizer:
        """Return the recipe's optimiser."""
        if self.optimizer is None:
            self.optimizer = optimiser(model or self.model, self._options)
        return self.optimizer

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """Return the recipe's schedule; a plateau's is moved by the validation scores of `KeepBest`."""
        if self._options.schedule != "plateau":
            return super().create_scheduler(num_training_steps, optimizer)
        if self.lr_scheduler is None:
            own = optimizer or self.create_optimizer()
            self.lr_scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(own, "max", factor=0.5, patience=0)
            self._created_lr_scheduler = True
        return self.lr_scheduler

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Return the model's loss and what the techniques add, all of it over the rows of the whole step."""
        if not self._extra:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        with watched(self.model) as heads:
            loss, outputs = super().compute_loss(model, inputs, True, num_items_in_batch)
        rows = len(inputs["labels"]) if num_items_in_batch is None else num_items_in_batch
        # The gradients of all processes are averaged, so the Trainer has multiplied by their number.
        part = (1 if num_items_in_batch is None else self.accelerator.num_processes) / rows
        seen = Pass(loss / part, dict(heads), outputs.get("said", {}))
        for technique in self._techniques:
            extra = technique.extra_loss(self.model, inputs, seen)
            loss = loss if extra is None else loss + extra * part
        return (loss, outputs) if return_outputs else loss

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> torch.Tensor:
        """Run one micro-batch; raises Diverged before a loss that is no number touches the weights."""
        whole = functools.partial(super().training_step, model, num_items_in_batch=num_items_in_batch)
        step = Step(
            run=lambda batch: whole(dict(batch)),
            loss=lambda batch: self._loss(model, batch, num_items_in_batch),
        )
        for technique in self._techniques:
            step = technique.around_step(step)
        loss = step.run(inputs)
        if not torch.isfinite(loss):
            raise Diverged(
                f"the loss became {float(loss)} at step {self.state.global_step + 1}; lower train.rate "
                f"(now {self.args.learning_rate:g}) or look for broken rows, and start again{self._left()}"
            )
        return loss

    def _loss(self, model: Any, batch: Batch, items: Any) -> torch.Tensor:
        with self.compute_loss_context_manager():
            loss: torch.Tensor = self.compute_loss(
                model, self._prepare_inputs(dict(batch)), num_items_in_batch=items
            )
        return loss

    def _left(self) -> str:
        work = Path(self.args.output_dir)
        kept = work / BEST if (work / BEST).is_file() else checkpoint(work)
        return f"; the best weights before that are in {kept}" if kept else ""

    def _get_train_sampler(self, train_dataset: Any = None) -> torch.utils.data.Sampler[int]:
        size = self.args.train_batch_size * self.args.gradient_accumulation_steps * self.args.world_size
        lengths = [len(row.text) + len(row.pair or "") for row in self.train_dataset]
        if self._partners:
            labels = [row.targets.get(self._partners) for row in self.train_dataset]
            return Partnered(labels, lengths, size, self.args.seed)
        mixed = None
        if self._options.mix == "temperature":
            sources = [row.source for row in self.train_dataset]
            mixed = Mixed(sources, self._options.mix_temperature, self.args.seed)
        return LengthGrouped(lengths, size, self.args.seed, mixed)

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        # With the weights, so that a checkpoint's last file, by which a whole one is known, comes after.
        super()._save(output_dir, state_dict)
        for technique in self._techniques if self.args.should_save else ():
            technique.save(Path(output_dir or self.args.output_dir))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        for technique in self._techniques:
            technique.load(Path(resume_from_checkpoint))


def total_steps(rows: int, options: Train) -> int:
    """Return how many steps a whole training takes, as the Trainer counts them."""
    batches = math.ceil(rows / (options.batch * processes.count()))
    whole = math.ceil(batches / options.accumulate) * int(options.epochs)
    return min(whole, options.steps or whole)


def fit(
    model: HeadedModel,
    recipe: Recipe,
    train: Sequence[Example],
    collator: Collator,
    score: Score | None,
    work: Path,
    *,
    techniques: Sequence[Technique] = (),
    tracking: Path | None = None,
    progress: bool,
) -> tuple[list[dict[str, float]], list[dict[str, float]]]:
    """Tune `model`, which the techniques have prepared, in place; returns (steps with their training loss,
    validation curve by epoch).

    Checkpoints go to `work` once an epoch, and a killed run goes on from the last. Without `score` there
    is no validation: the last weights are kept. Every log is a line of `steps.jsonl` in `work`; what
    `train.track` names writes to `tracking`. Raises Diverged when the loss is no number, BadInput for a
    schedule or a precision that can't be had here.
    """
    options, work = recipe.train, work.absolute()
    if options.schedule == "plateau" and score is None:
        raise BadInput(
            'train.schedule "plateau" follows validation scores; give validation rows, or use linear'
        )
    work.mkdir(parents=True, exist_ok=True)
    view = next((one.swapped for one in techniques if isinstance(one, Averaged)), nullcontext)
    trainer = _trainer(model, recipe, train, collator, work, techniques)
    gather = (lambda: trainer.accelerator.get_state_dict(trainer.model_wrapped)) if options.fsdp else None
    keep = None
    if score:
        keep = KeepBest(model, score, work, options.patience, view=view, weights=gather)
        keep.tell = trainer.log
    done = work / DONE
    if not processes.share(done.is_file):
        with trackers(
            options.track if processes.main() else [],
            tracking or work / "tracking",
            recipe.model_dump(mode="json"),
        ) as told:
            _train(trainer, [*told, *([keep] if keep else [])], work, progress, view, gather)
    losses: list[dict[str, float]] = json.loads(done.read_text("utf-8"))
    if keep:
        return losses, keep.restore()
    if not options.fsdp:
        model.load_state_dict(load_file(work / LAST))
    return losses, []


def _train(
    trainer: HeadsTrainer,
    callbacks: Sequence[Any],
    work: Path,
    progress: bool,
    view: Callable[[], AbstractContextManager[None]],
    gather: Callable[[], dict[str, torch.Tensor]] | None,
) -> None:
    mine = [StepsLog(work / STEPS)] if processes.main() else []
    for callback in [*mine, *callbacks, *([Bar()] if progress and processes.main() else [])]:
        trainer.add_callback(callback)
    found = processes.share(lambda: checkpoint(work))
    trainer.train(resume_from_checkpoint=found)
    with view():
        save_weights(gather() if gather else trainer.model.state_dict(), work / LAST)
    if processes.main():
        rows = [row for row in trainer.state.log_history if "loss" in row]
        write_json(work / DONE, [{"step": row["step"], "loss": row["loss"]} for row in rows])
    processes.wait()


def _trainer(
    model: HeadedModel,
    recipe: Recipe,
    train: Sequence[Example],
    collator: Collator,
    work: Path,
    techniques: Sequence[Technique],
) -> HeadsTrainer:
    options = recipe.train
    on_gpu = torch.cuda.is_available()
    if options.precision == "fp16" and not on_gpu:
        raise BadInput(
            'train.precision "fp16" needs a GPU; use "auto", which takes what this machine is good at'
        )
    if options.fsdp and not (on_gpu and processes.count() > 1):
        raise BadInput("train.fsdp spreads a model over GPUs: start it with torchrun on several, or drop it")
    steps = max(1, math.ceil(len(train) / (options.batch * options.accumulate * processes.count())))
    arguments = TrainingArguments(
        output_dir=str(work),
        num_train_epochs=float(options.epochs),
        max_steps=total_steps(len(train), options) if options.steps else -1,
        per_device_train_batch_size=options.batch,
        gradient_accumulation_steps=options.accumulate,
        learning_rate=options.rate,
        lr_scheduler_type={"constant": "constant_with_warmup", "plateau": "constant"}.get(
            options.schedule, options.schedule
        ),
        warmup_steps=options.warmup,
        weight_decay=options.weight_decay,
        max_grad_norm=options.clip,
        bf16=options.precision == "bf16",
        fp16=options.precision == "fp16",
        use_cpu=not on_gpu,
        fsdp=options.fsdp or None,
        seed=options.seed,
        save_strategy="epoch",
        save_total_limit=1,
        logging_steps=max(1, steps // 10),
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        average_tokens_across_devices=True,
    )
    trainer = HeadsTrainer(
        model=model,
        args=arguments,
        train_dataset=list(train),
        data_collator=collator,
        options=options,
        techniques=techniques,
        partners=_partners(recipe),
    )
    trainer.remove_callback(PrinterCallback)  # it prints on stdout, which belongs to results
    return trainer


def _partners(recipe: Recipe) -> str | None:
    """Return the head whose rows stand beside one of their label."""
    heads = [name for name, head in recipe.heads.items() if head.kind == "classify"]
    return heads[0] if recipe.train.contrast and heads else None
