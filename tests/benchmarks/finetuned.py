"""What `trillium finetune` gives without a recipe, beside plain methods on the same rows.

    python tests/benchmarks/finetuned.py --set banking77-10                  # three seeds
    python tests/benchmarks/finetuned.py --set phrasebank --base all-MiniLM-L6-v2
    python tests/benchmarks/finetuned.py --table tests/benchmarks/RESULTS.md  # write what was measured

Each run is the command with base, seed, columns and, where the set has foreign rows, their label; nothing
else. The hash of the recipe that it will take is kept before the test file is opened, which happens once,
inside the command. Recipes were chosen on validation rows or by cross-validation of training rows.

A finished run is a line of TRILLIUM_HOME/benchmarks/finetuned.jsonl, keyed by command, recipe and files,
so that a stopped benchmark goes on. Intervals over several runs draw runs and test rows anew together.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kept
import numpy as np
from finetuned_sets import DATA, FOREIGN, SETS, Part, Set, written

from pipelines.tuning.asking import Asked, asked_recipe
from shared.evaluation import baselines
from shared.evaluation.classification import accuracy, macro_f1
from shared.evaluation.resampling import as_codes, interval
from shared.finetuning.recipe import DEFAULT_BASE
from shared.finetuning.train import export_frozen
from shared.models.text_model import TextModel
from shared.settings import load_settings

PLAIN = ("frozen base + logistic regression", "TF-IDF + linear SVM")


@dataclass(frozen=True)
class Run:
    """One call of the command: the files it reads and its arguments, without --out."""

    name: str
    base: str
    seed: int
    part: Part
    kind: Set
    folder: Path

    def files(self) -> dict[str, Path]:
        sides = {"train": self.part.train, "valid": self.part.valid, "test": self.part.test}
        return {
            side: written(rows, self.folder / f"{self.name}-{side}.jsonl")
            for side, rows in sides.items()
            if rows
        }

    def arguments(self, files: dict[str, Path]) -> list[str]:
        own = ["--task", self.kind.task, "--base", self.base, "--seed", str(self.seed), *self.kind.options]
        return own + [part for side, path in files.items() for part in (f"--{side}", str(path))]

    def recipe(self, files: dict[str, Path]) -> str:
        """Return the hash of the recipe as asked, which depends on task and training rows alone."""
        asked = Asked(
            task=self.kind.task,
            train=files["train"],
            valid=files.get("valid"),
            base=self.base,
            seed=self.seed,
            out_of_scope=FOREIGN if FOREIGN in self.kind.options else None,
        )
        return asked_recipe(asked, load_settings()).hash()


def runs(name: str, base: str, folder: Path, seeds: Sequence[int] | None) -> Iterator[Run]:
    kind = SETS[name]
    for seed in seeds or kind.seeds:
        for part in kind.parts(seed):
            yield Run(name, base, seed, part, kind, folder)


def measured(run: Run, path: Path) -> dict[str, Any]:
    """Return the kept row of the run, after running it where there is none."""
    files = run.files()
    recipe = run.recipe(files)
    told = json.dumps([run.kind.task, run.base, run.seed, run.kind.options, recipe])
    data = hashlib.sha256(b"".join(file.read_bytes() for file in files.values())).hexdigest()
    key = hashlib.sha256((told + data).encode()).hexdigest()
    known = {row["key"]: row for row in kept.rows(path)}
    if "metrics" in known.get(key, {}):
        return known[key]
    about = {"key": key, "set": run.name, "part": run.part.name, "base": run.base, "seed": run.seed}
    about |= {"recipe": recipe, "data": data, "commit": kept.commit(), "rows": len(run.part.train)}
    kept.add(path, about)  # before the test file is opened
    started = time.monotonic()
    metrics, said = carried_out(run, files)
    row = {**about, "seconds": round(time.monotonic() - started), "metrics": metrics, "said": said}
    if run.kind.task == "classify" and not run.kind.options:
        row |= {"truth": [one["label"] for one in run.part.test], "subset": run.part.subset}
        row["plain"] = plain(run)
    kept.add(path, row)
    return row


def carried_out(run: Run, files: dict[str, Path]) -> tuple[dict[str, Any], list[str]]:
    """Run the command; return its metrics and, for labels, what it says of each test row."""
    trillium = [sys.executable, "-m", "pipelines.cli"]
    with tempfile.TemporaryDirectory() as aside:
        out = Path(aside) / "model"
        made = subprocess.run(
            [*trillium, "finetune", *run.arguments(files), "--out", str(out), "--json"],
            cwd=kept.ROOT,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        metrics = json.loads(made.stdout.splitlines()[-1])["metrics"]
        metrics.pop("curve", None)
        if run.kind.task != "classify" or run.kind.options:
            return metrics, []
        told = subprocess.run(
            [*trillium, "predict", str(out), str(files["test"])],
            cwd=kept.ROOT,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    return metrics, [str(json.loads(line)["label"]) for line in told.stdout.splitlines()]


def plain(run: Run) -> dict[str, list[str]]:
    """Return what the plain methods say of the test rows."""
    train, labels = [row["text"] for row in run.part.train], [row["label"] for row in run.part.train]
    unseen = [row["text"] for row in run.part.test]
    with tempfile.TemporaryDirectory() as aside:
        export_frozen(run.base, Path(aside) / "frozen", home=load_settings().home)
        encoder = TextModel.load(Path(aside) / "frozen")
        regression = baselines.frozen_regression(encoder.embed(train), labels, encoder.embed(unseen))
    return dict(zip(PLAIN, (regression, baselines.tfidf_svm(train, labels, unseen)), strict=True))


def summary(rows: Sequence[dict[str, Any]]) -> list[tuple[str, str, str]]:
    """Return (method, metric, "value [low, high]") over the runs of one set and base."""
    if all("truth" in row for row in rows):
        return list(_labelled(rows))
    found = []
    for metric in rows[0]["metrics"]:
        values = [row["metrics"][metric] for row in rows]
        if len(values) == 1:
            shown = "{:.4f} [{:.4f}, {:.4f}]".format(*values[0])
        else:
            means = [value[0] for value in values]
            shown = f"{np.mean(means):.4f} (runs {min(means):.4f} to {max(means):.4f})"
        found.append(("tuned", metric, shown))
    return found


def _labelled(rows: Sequence[dict[str, Any]]) -> Iterator[tuple[str, str, str]]:
    answers = {"tuned": [row["said"] for row in rows]}
    answers |= {name: [row["plain"][name] for row in rows] for name in PLAIN}
    truth = [label for row in rows for label in row["truth"]]
    subset = np.asarray([one for row in rows for one in row["subset"]], bool)
    for method, said in answers.items():
        codes = as_codes(truth, [label for own in said for label in own])
        for metric in (accuracy, macro_f1):
            value, low, high = interval(metric, *codes, draws=300)
            yield method, metric.__name__, f"{value:.4f} [{low:.4f}, {high:.4f}]"
        if subset.any():
            value, low, high = interval(accuracy, *(code[subset] for code in codes), draws=300)
            yield method, "accuracy of the subset", f"{value:.4f} [{low:.4f}, {high:.4f}]"


def table(path: Path) -> str:
    """Return every set and base that was measured, newest recipe of each, as Markdown."""
    groups: dict[tuple[str, str], dict[str, list[dict[str, Any]]]] = {}
    for row in kept.rows(path):
        if "metrics" in row:
            groups.setdefault((row["set"], row["base"]), {}).setdefault(row["commit"], []).append(row)
    found = ["| set | base | runs | method | metric | value [95 %] | seconds a run | commit |"]
    found.append("|---|---|---|---|---|---|---|---|")
    for (name, base), by_commit in sorted(groups.items()):
        made, rows = list(by_commit.items())[-1]
        seconds = f"{np.mean([row['seconds'] for row in rows]):.0f}"
        for method, metric, value in summary(rows):
            cells = (name, base, str(len(rows)), method, metric, value, seconds, made)
            found.append(f"| {' | '.join(cells)} |")
    return "\n".join(found) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description="What finetune gives without a recipe, on public data.")
    parser.add_argument("--set", choices=sorted(SETS))
    parser.add_argument("--base", help=f"default: the set's own; {DEFAULT_BASE} is finetune's")
    parser.add_argument("--seed", type=int, action="append", help="default: the set's own seeds")
    parser.add_argument("--table", type=Path, help="write the table of all that was measured into this file")
    given = parser.parse_args()
    path = load_settings().home / "benchmarks" / "finetuned.jsonl"
    if given.set:
        if not DATA.is_dir():
            sys.exit(f"the public data sets are not at {DATA}")
        base = given.base or SETS[given.set].base
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        with tempfile.TemporaryDirectory() as folder:
            rows = []
            for run in runs(given.set, base, Path(folder), given.seed):
                print(f"{run.name}, {run.part.name}, seed {run.seed}, base {base}", file=sys.stderr)
                rows.append(measured(run, path))
        for method, metric, value in summary(rows):
            print(f"{given.set:<20} {base:<20} {method:<34} {metric:<24} {value}")
    if given.table:
        given.table.write_text(HEAD + table(path), "utf-8")


HEAD = """# What `trillium finetune` gives without a recipe

Made by `python tests/benchmarks/finetuned.py --set SET [--base BASE]` for each set and base, then `--table`.
Test rows were read once a run. One run's interval draws its test rows anew (bootstrap); over several runs
the rows of all runs are drawn together.

"""

if __name__ == "__main__":
    main()
