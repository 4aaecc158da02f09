"""Training steps a second beside the plain Trainer of transformers on the same rows, with its own defaults.

    python tests/benchmarks/training_speed.py [--base NAME] [--steps 120]

Both tune the base on BANKING77 train rows, 32 a step, with the same rate and schedule; every tenth row is
held out and both are scored on those. The plain way is AutoModelForSequenceClassification, Trainer and
TrainingArguments as they come (fp32, AdamW, padded to the longest of a batch) but for batch, rate and number
of steps. Each way runs in a process of its own; the first ten steps are not timed. Run it on a machine that
does nothing else.

A second table tunes on the first 200 rows, too few to be sorted by length: in whole batches and, as on CPU,
in passes of texts of like length. A third has texts of some 400 tokens, 25 rows' each, 16 steps of 8: with
dropout of attention, and without it, as above 192 tokens on CPU. The last column is the process's largest
memory.
"""

import argparse
import csv
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import f1_score
from transformers import TrainerCallback

from shared.finetuning import attention
from shared.finetuning.bases import resolve
from shared.finetuning.hardware import best_precision
from shared.finetuning.methods.technique import Technique
from shared.finetuning.quiet import quiet
from shared.finetuning.recipe import DEFAULT_BASE, Recipe
from shared.finetuning.rows import Rows
from shared.finetuning.train import open_training
from shared.finetuning.validate import validate
from shared.settings import load_settings

TRAIN = Path(__file__).resolve().parents[3] / "shared" / "data" / "support" / "banking77" / "train.csv"
BATCH, RATE, WARM = 32, 1e-4, 10
WAYS = ("plain Trainer", "trillium fp32", "trillium")
FEW = 200
FEW_WAYS = (f"{FEW} rows, whole batches", f"{FEW} rows, passes by length")
TOGETHER, LONG_BATCH, LONG_STEPS, LONG_WARM = 25, 8, 16, 3
LONG_WAYS = ("long texts, dropout of attention", "long texts")


class Stamps(TrainerCallback):  # type: ignore[misc]  # transformers ships no types
    """The moment at which each step ended."""

    def __init__(self) -> None:
        self.at: list[float] = []

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Note the moment."""
        self.at.append(time.perf_counter())

    def speed(self, warm: int = WARM) -> float:
        """Return steps a second, the first `warm` left out."""
        return (len(self.at) - 1 - warm) / (self.at[-1] - self.at[warm])


class WatchingStamps(Technique, Stamps):
    """The same, as a part of our loop."""

    def __init__(self) -> None:
        Stamps.__init__(self)


def rows() -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    with TRAIN.open(encoding="utf-8", newline="") as file:
        every = [{"text": row["text"].strip(), "label": row["category"]} for row in csv.DictReader(file)]
    mixed = [every[i] for i in np.random.default_rng(0).permutation(len(every))]
    return [row for i, row in enumerate(mixed) if i % 10], mixed[::10]


def plain(base: str, steps: int) -> dict[str, float]:
    import torch
    from torch.utils.data import Dataset
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        DataCollatorWithPadding,
        Trainer,
        TrainingArguments,
        set_seed,
    )

    set_seed(0)
    train, held = rows()
    path = resolve(base, home=load_settings().home, fetch=True).path
    labels = sorted({row["label"] for row in train})
    tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
    with quiet():
        model = AutoModelForSequenceClassification.from_pretrained(
            path, num_labels=len(labels), local_files_only=True
        )

    class Texts(Dataset):  # type: ignore[type-arg]
        def __init__(self, rows: list[dict[str, str]]) -> None:
            self.rows = rows

        def __len__(self) -> int:
            return len(self.rows)

        def __getitem__(self, i: int) -> dict[str, Any]:
            fed = tokenizer(self.rows[i]["text"], truncation=True)
            return {**fed, "labels": labels.index(self.rows[i]["label"])}

    stamps = Stamps()
    with tempfile.TemporaryDirectory() as aside:
        arguments = TrainingArguments(
            output_dir=aside,
            per_device_train_batch_size=BATCH,
            max_steps=steps,
            learning_rate=RATE,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            use_cpu=not torch.cuda.is_available(),
        )
        trainer = Trainer(
            model=model,
            args=arguments,
            train_dataset=Texts(train),
            data_collator=DataCollatorWithPadding(tokenizer),
            callbacks=[stamps],
        )
        trainer.train()
        said = trainer.predict(Texts(held)).predictions.argmax(1)
    truth = [labels.index(row["label"]) for row in held]
    return {"steps/s": stamps.speed(), "macro F1": float(f1_score(truth, said, average="macro"))}


def ours(base: str, steps: int, way: str) -> dict[str, float]:
    train, held = rows()
    precision = "fp32" if way == WAYS[1] else best_precision()
    train = train[:FEW] if way in FEW_WAYS else train
    long, batch = way in LONG_WAYS, BATCH
    if long:
        batch, steps = LONG_BATCH, LONG_STEPS
        train, held = joined(train), joined(held)
        attention.LONG = 10**6 if way == LONG_WAYS[0] else attention.LONG
    tree = {
        "base": base,
        "data": {"rows": {}},
        "heads": {"label": {"kind": "classify", "data": "rows"}},
        "train": {"epochs": 50, "steps": steps, "batch": batch, "rate": RATE, "precision": precision},
    }
    home, stamps = load_settings().home, WatchingStamps()
    with tempfile.TemporaryDirectory() as aside:
        opened = open_training(
            Recipe.parse(tree), {"rows": Rows(train, held)}, home=home, work=Path(aside), progress=False
        )
        valid = list(opened.valid)
        opened.valid.clear()  # else every epoch's end would be timed with its validation
        opened.model.divides = way != FEW_WAYS[0]
        opened.tune(progress=False, watchers=[stamps])
        told = validate(opened.model, opened.feed, valid, opened.recipe.train.precision)
    return {"steps/s": stamps.speed(LONG_WARM if long else WARM), "macro F1": told["label"]}


def joined(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """Return texts of TOGETHER rows each, with the label of the first."""
    starts = range(0, len(rows) - TOGETHER, TOGETHER)
    return [{**rows[i], "text": " ".join(row["text"] for row in rows[i : i + TOGETHER])} for i in starts]


def main() -> None:
    parser = argparse.ArgumentParser(description="Training steps a second beside the plain Trainer.")
    parser.add_argument("--base", default=DEFAULT_BASE)
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--way", choices=(*WAYS, *FEW_WAYS, *LONG_WAYS), help="one way, in this process")
    args = parser.parse_args()
    if args.way:
        run = plain(args.base, args.steps) if args.way == WAYS[0] else ours(args.base, args.steps, args.way)
        print(json.dumps({**run, "GB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20}))
        return
    print(f"{args.base}, {args.steps} steps of {BATCH}; trillium takes {best_precision()} here")
    for ways in (WAYS, FEW_WAYS, LONG_WAYS):
        print("\n| way | steps/s | ratio | macro F1 on held-out rows | GB |\n|---|---|---|---|---|")
        slow = None
        for way in ways:
            same = ["--base", args.base, "--steps", str(args.steps)]
            made = subprocess.run(
                [sys.executable, __file__, *same, "--way", way], check=True, capture_output=True, text=True
            )
            found = json.loads(made.stdout.splitlines()[-1])
            slow = slow or found["steps/s"]
            speed = found["steps/s"]
            print(
                f"| {way} | {speed:.2f} | {speed / slow:.2f} | {found['macro F1']:.4f} | {found['GB']:.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
