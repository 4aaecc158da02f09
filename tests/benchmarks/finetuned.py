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
from finetuned_plain import PLAIN, plain_of
from finetuned_sets import DATA, FOREIGN, SETS, Part, Set, written

from pipelines.tuning.asking import Asked, asked_recipe
from shared.evaluation.classification import accuracy, macro_f1
from shared.evaluation.resampling import as_codes, interval
from shared.finetuning.recipe import DEFAULT_BASE
from shared.settings import load_settings


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
        return known[key] if "plain" in known[key] else _with_plain(known[key], run, path)
    about = {"key": key, "set": run.name, "part": run.part.name, "base": run.base, "seed": run.seed}
    about |= {"recipe": recipe, "data": data, "commit": kept.commit(), "rows": len(run.part.train)}
    kept.add(path, about)  # before the test file is opened
    started = time.monotonic()
    metrics, said = carried_out(run, files)
    row = {**about, "seconds": round(time.monotonic() - started), "metrics": metrics, "said": said}
    if run.kind.task == "classify" and not run.kind.options:
        row |= {"truth": [one["label"] for one in run.part.test], "subset": run.part.subset}
    kept.add(path, row)
    return _with_plain(row, run, path)


def _with_plain(row: dict[str, Any], run: Run, path: Path) -> dict[str, Any]:
    """Return the row with what plain methods do on the same rows, where there are such, and keep it."""
    row = {**row, "plain": plain_of(run.kind, run.part, run.base)}
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


def summary(rows: Sequence[dict[str, Any]]) -> list[tuple[str, str, str]]:
    """Return (method, metric, "value [low, high]") over the runs of one set and base."""
    if all("truth" in row for row in rows):
        return list(_labelled(rows))
    found = [
        ("tuned", metric, _over([row["metrics"][metric] for row in rows])) for metric in rows[0]["metrics"]
    ]
    for method, metrics in rows[0].get("plain", {}).items():
        found += [
            (method, metric, _over([row["plain"][method][metric] for row in rows])) for metric in metrics
        ]
    return found


def _over(values: Sequence[Sequence[float]]) -> str:
    """Return the figure with its interval where all runs have the same, else the mean and the range."""
    if all(list(value) == list(values[0]) for value in values):
        return _shown(*values[0])
    means = [value[0] for value in values]
    return f"{np.mean(means):.4f} (runs {min(means):.4f} to {max(means):.4f})"


def _shown(value: float, low: float, high: float) -> str:
    return f"{value:.4f} [{low:.4f}, {high:.4f}]"


def _labelled(rows: Sequence[dict[str, Any]]) -> Iterator[tuple[str, str, str]]:
    answers = {"tuned": [row["said"] for row in rows]}
    answers |= {name: [row["plain"][name] for row in rows] for name in PLAIN}
    truth = [label for row in rows for label in row["truth"]]
    subset = np.asarray([one for row in rows for one in row["subset"]], bool)
    for method, said in answers.items():
        codes = as_codes(truth, [label for own in said for label in own])
        for metric in (accuracy, macro_f1):
            yield method, metric.__name__, _shown(*interval(metric, *codes, draws=300))
        if subset.any():
            chosen = (code[subset] for code in codes)
            yield method, "accuracy of the subset", _shown(*interval(accuracy, *chosen, draws=300))


COLUMNS = ("set", "base", "runs", "method", "metric", "value [95 %]", "seconds a run", "commit")


def table(path: Path, before: str = "") -> str:
    """Return every set and base that was measured, newest recipe of each, as Markdown.

    Lines of `before`, an earlier table, stay where this machine has not measured their set and base.
    """
    groups: dict[tuple[str, str], dict[str, dict[str, dict[str, Any]]]] = {}
    for row in kept.rows(path):
        if "metrics" in row and "plain" in row:  # else it was stopped before the plain methods; it goes on
            made = groups.setdefault((row["set"], row["base"]), {}).setdefault(row["commit"], {})
            made[row["key"]] = row
    lines = {group: list(_lines(group, by_commit)) for group, by_commit in groups.items()}
    for line in before.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == len(COLUMNS) and cells[0] in SETS and (cells[0], cells[1]) not in groups:
            lines.setdefault((cells[0], cells[1]), []).append(line)
    found = [f"| {' | '.join(COLUMNS)} |", f"|{'---|' * len(COLUMNS)}"]
    found += [line for group in sorted(lines) for line in lines[group]]
    return "\n".join(found) + "\n"


def _lines(group: tuple[str, str], by_commit: dict[str, dict[str, dict[str, Any]]]) -> Iterator[str]:
    made, own = list(by_commit.items())[-1]
    rows = list(own.values())
    seconds = f"{np.mean([row['seconds'] for row in rows]):.0f}"
    for method, metric, value in summary(rows):
        yield f"| {' | '.join((*group, str(len(rows)), method, metric, value, seconds, made))} |"


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
        before = given.table.read_text("utf-8") if given.table.is_file() else ""
        given.table.write_text(HEAD + table(path, before), "utf-8")


HEAD = """# What `trillium finetune` gives without a recipe

Made by `python tests/benchmarks/finetuned.py --set SET [--base BASE]` for each set and base, then `--table`.
Test rows were read once a run. One run's interval draws its test rows anew (bootstrap); over several runs
the rows of all runs are drawn together. A line stays until its set and base are measured again.

"""

if __name__ == "__main__":
    main()
