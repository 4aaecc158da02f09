"""Accuracy of the fine-tuned model beside two plain methods, on public data.

    python tests/benchmarks/text_classification.py --task banking77 --base all-MiniLM-L6-v2 --seed 0

banking77: the full training file, a tenth of it held out for validation, the official test file.
phrasebank: Financial PhraseBank, all sentences with 50 % agreement, 5 folds by normalised text (so that
copies of a sentence stay on one side), a tenth of each training part held out for validation. The test
parts are read once, at the end of each run.

Each finished part is a line of TRILLIUM_HOME/benchmarks/text_classification.jsonl, keyed by recipe and
data, so that a stopped run goes on where it was.
"""

import argparse
import hashlib
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kept
import numpy as np
from finetuned_sets import DATA, SETS, draw

from shared.evaluation import baselines
from shared.evaluation.classification import accuracy, bootstrap, macro_f1, paired_difference
from shared.finetuning.recipe import Recipe
from shared.finetuning.rows import Rows, data_hash
from shared.finetuning.train import export_frozen, finetune
from shared.models.text_model import TextModel
from shared.settings import load_settings

TASKS = ("banking77", "phrasebank")
METHODS = ("tuned", "frozen encoder + logistic regression", "TF-IDF + linear SVM")


@dataclass(frozen=True)
class Part:
    """One split: its name, rows to learn from, rows to be scored on."""

    name: str
    rows: Rows
    test: list[dict[str, str]]


def split(rows: list[dict[str, str]], salt: str) -> Rows:
    held = [draw(row["text"], salt, 10) == 0 for row in rows]
    train = [row for row, out in zip(rows, held, strict=True) if not out]
    return Rows(train, [row for row, out in zip(rows, held, strict=True) if out])


def parts(task: str, seed: int) -> Iterator[Part]:
    for part in SETS[task].parts(seed):
        yield Part(part.name, split(part.train, f"valid-{seed}"), part.test)


def recipe_for(base: str, seed: int, given: str) -> Recipe:
    tree: dict[str, Any] = {
        "base": base,
        "data": {"rows": {}},
        "heads": {"label": {"kind": "classify", "data": "rows"}},
        "train": {"seed": seed, **json.loads(given)},
    }
    return Recipe.parse(tree)


Vectors = dict[str, dict[str, Any]]  # base -> text -> frozen vector


def predictions(part: Part, recipe: Recipe, home: Path, work: Path, known: Vectors) -> dict[str, Any]:
    """Return the labels that each method gives to the test rows, and the seconds of the tuning."""
    every = [*part.rows.train, *part.rows.valid]  # the plain methods have no use for validation rows
    unseen = [row["text"] for row in part.test]
    with tempfile.TemporaryDirectory() as aside:
        frozen, out = Path(aside) / "frozen", Path(aside) / "tuned"
        export_frozen(recipe.base, frozen, home=home)
        encoder = TextModel.load(frozen)
        vectors = known.setdefault(recipe.base, {})  # the folds are of the same texts: each is encoded once
        new = [
            text for text in dict.fromkeys([*(row["text"] for row in every), *unseen]) if text not in vectors
        ]
        vectors.update(zip(new, encoder.embed(new), strict=True))
        regression = baselines.frozen_regression(
            np.stack([vectors[row["text"]] for row in every]),
            [row["label"] for row in every],
            np.stack([vectors[text] for text in unseen]),
        )
        started = time.monotonic()
        report = finetune(recipe, {"rows": part.rows}, out, home=home, work=work)
        seconds = time.monotonic() - started
        model = TextModel.load(out)
        best = model.run(unseen).probabilities["label"].argmax(1)
        tuned = [model.heads["label"].labels[i] for i in best]
        curves = json.loads((out / "curves.json").read_text("utf-8"))["epochs"]
    svm = baselines.tfidf_svm([r["text"] for r in every], [r["label"] for r in every], unseen)
    answers = dict(zip(METHODS, (tuned, regression, svm), strict=True))
    return {"answers": answers, "seconds": round(seconds), "valid": report.metrics, "epochs": curves}


def run(task: str, recipe: Recipe, seed: int, home: Path) -> list[dict[str, Any]]:
    path = home / "benchmarks" / "text_classification.jsonl"
    done = kept.rows(path)
    results = []
    vectors: Vectors = {}
    for part in parts(task, seed):
        test = hashlib.sha256(json.dumps(part.test).encode()).hexdigest()
        key = f"{recipe.hash()}-{data_hash({'rows': part.rows})}-{test}"
        row = next((row for row in done if row["key"] == key), None)
        if row is None:
            print(f"{task}, {part.name}: {len(part.rows.train)} rows", file=sys.stderr)
            found = predictions(part, recipe, home, home / "benchmarks" / "work", vectors)
            about = {"key": key, "task": task, "base": recipe.base, "seed": seed, "part": part.name}
            row = {**about, "truth": [r["label"] for r in part.test], **found}
            kept.add(path, row)
        results.append(row)
    shutil.rmtree(home / "benchmarks" / "work", ignore_errors=True)
    return results


def table(task: str, base: str, seed: int, rows: list[dict[str, Any]]) -> str:
    truth = [label for row in rows for label in row["truth"]]
    lines = [f"{task}, base {base}, seed {seed}, {len(rows)} part(s), {len(truth)} test rows", ""]
    lines.append(f"{'method':<40} {'accuracy (95 %)':<24} macro F1 (95 %)")
    answers = {m: [label for row in rows for label in row["answers"][m]] for m in METHODS}
    for method, said in answers.items():
        figures = [bootstrap(metric, truth, said, draws=300) for metric in (accuracy, macro_f1)]
        shown = [f"{value:.4f} ({low:.4f}-{high:.4f})" for value, low, high in figures]
        lines.append(f"{method:<40} {shown[0]:<24} {shown[1]}")
    for method in METHODS[1:]:
        value, low, high = paired_difference(accuracy, truth, answers["tuned"], answers[method], draws=300)
        lines.append(f"tuned - {method}: accuracy {value:+.4f} ({low:+.4f} to {high:+.4f})")
    by_part = [accuracy(row["truth"], row["answers"]["tuned"]) for row in rows]
    lines.append(
        f"tuned by part: {', '.join(f'{value:.4f}' for value in by_part)} (mean {np.mean(by_part):.4f})"
    )
    lines.append(f"seconds of tuning: {sum(row['seconds'] for row in rows)}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="Accuracy on public data, beside two plain methods.")
    parser.add_argument("--task", choices=TASKS, required=True)
    parser.add_argument("--base", default="all-MiniLM-L6-v2")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--train", default="{}", help="JSON that overrides fields of the recipe's [train]")
    given = parser.parse_args()
    if not DATA.is_dir():
        sys.exit(f"the public data sets are not at {DATA}")
    recipe = recipe_for(given.base, given.seed, given.train)
    rows = run(given.task, recipe, given.seed, load_settings().home)
    print(table(given.task, given.base, given.seed, rows))


if __name__ == "__main__":
    main()
