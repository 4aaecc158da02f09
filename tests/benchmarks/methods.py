"""What each method of a recipe gains over the plain recipe, and what it costs.

    python tests/benchmarks/methods.py                              # every missing row, then the table
    python tests/benchmarks/methods.py --method lora --seed 0       # one row
    python tests/benchmarks/methods.py --table                      # the table of the rows that are there
    python tests/benchmarks/methods.py --table tests/benchmarks/METHODS.md     # the same into a file

The task is BANKING77 with ten examples a class (fewshot/train_10), all of them for training; nothing is
chosen on the official test file, which is read once a row. Rows that need validation rows hold a tenth of
the training rows out, and are compared with the plain recipe all the same, which trains on all. Rows that
learn from texts without labels get 1,500 of the full training file, drawn once; those with "mlm" find
hidden words in them first, which none of the small bases at hand was left with. The gain is
in points of test accuracy over the plain recipe with the same seeds, with a 95 % interval over seeds and
test rows drawn anew together; the cost is the training's own seconds and the process's largest memory.

Each row is a line of methods.jsonl beside this file, with commit, recipe hash, data hash and processor, so
that only missing rows run: those of a method whose recipe or data changed, or all with `--rows` of another
file. A row takes at most three minutes on two free cores.
"""

import argparse
import base64
import csv
import hashlib
import json
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import kept
import numpy as np
import numpy.typing as npt

from shared.finetuning.recipe import DEFAULT_BASE, Recipe
from shared.finetuning.rows import Rows, data_hash
from shared.settings import load_settings

DATA = kept.ROOT.parent / "shared" / "data" / "support" / "banking77"
SEEDS = (0, 1, 2)
DRAWS = 2000
ROWS = Path(__file__).with_name("methods.jsonl")
PLAIN: dict[str, Any] = {
    "epochs": 4,
    "batch": 32,
    "rate": 1e-4,
    "label_smoothing": 0.0,
    "patience": None,
}
METHODS: dict[str, dict[str, Any]] = {
    "plain": {},
    "frozen": {"method": {"kind": "frozen"}},
    "random start": {"train": {"start": "random"}},
    "lora": {"method": {"kind": "lora"}, "train": {"rate": 5e-4}},
    "adalora": {"method": {"kind": "adalora"}, "train": {"rate": 2e-3}},
    "adapter": {"method": {"kind": "adapter"}, "train": {"rate": 5e-4}},
    "prefix": {"method": {"kind": "prefix"}, "train": {"rate": 1e-2}},
    "prompt": {"method": {"kind": "prompt"}, "train": {"rate": 1e-2}},
    "unfreeze": {"train": {"unfreeze": 1}},
    "layer decay": {"train": {"layer_decay": 0.8}},
    "adafactor": {"train": {"optimiser": "adafactor"}},
    "cosine": {"train": {"schedule": "cosine"}},
    "constant": {"train": {"schedule": "constant"}},
    "plateau": {"train": {"schedule": "plateau"}, "held": True},
    "early stopping": {"train": {"patience": 2}, "held": True},
    "weight decay": {"train": {"weight_decay": 0.1}},
    "dropout": {"train": {"dropout": 0.2}},
    "label smoothing": {"train": {"label_smoothing": 0.1}},
    "contrast": {"train": {"contrast": 0.5}},
    "blend": {"train": {"blend": 0.7}},
    "names": {"head": {"names": True}},
    "c auto": {"method": {"c": "auto"}},
    "fgm": {"train": {"adversarial": {"kind": "fgm", "epsilon": 1.0}}},
    "pgd": {"train": {"adversarial": {"kind": "pgd", "epsilon": 1.0, "steps": 3}}},
    "r-drop": {"train": {"rdrop": 1.0}},
    "mixup": {"train": {"mixup": 0.4}},
    "ema": {"train": {"average": {"kind": "ema", "decay": 0.99}}},
    "swa": {"train": {"average": {"kind": "swa", "start": 0.5}}},
    "noise": {"train": {"noise": 5.0}},
    "hide": {"train": {"hide": 0.15}},
    "checkpointing": {"train": {"checkpointing": True}},
    "rate auto": {"train": {"rate": "auto"}},
    "distil 2 seeds": {"beside": {"distil": {"seeds": 2}}},
    "augment words": {"beside": {"augment": {"kinds": ["words"]}}},
    "augment template": {"beside": {"augment": {"kinds": ["template"]}}},
    "augment mined": {"beside": {"augment": {"kinds": ["mined"]}}},
    "pseudo-labels": {"beside": {"unlabelled": {"data": "more"}}, "held": True},
    "consistency": {"beside": {"unlabelled": {"data": "more", "kinds": ["consistency"]}}},
    "pairs": {"train": {"pairs": 3}},
    "mlm first": {"first": {"epochs": 3, "rate": 1e-4}},
    "cloze after mlm": {
        "first": {"epochs": 3, "rate": 1e-4},
        "beside": {"cloze": {"template": "{text} It is about {mask}."}},
    },
}
UNLABELLED = 1500


def rows(held: bool) -> tuple[Rows, list[dict[str, str]]]:
    folder = DATA / "fewshot" / "train_10"
    texts, labels = ((folder / name).read_text("utf-8").splitlines() for name in ("seq.in", "label"))
    train = [{"text": t.strip(), "label": label} for t, label in zip(texts, labels, strict=True)]
    with (DATA / "test.csv").open(encoding="utf-8", newline="") as file:
        test = [{"text": row["text"].strip(), "label": row["category"]} for row in csv.DictReader(file)]
    # The rows come class by class: every tenth is one of each.
    valid = [row for i, row in enumerate(train) if held and i % 10 == 9]
    return Rows([row for i, row in enumerate(train) if not held or i % 10 != 9], valid), test


def texts() -> list[dict[str, str]]:
    """Return the texts without labels, in the order of their file."""
    with (DATA / "train.csv").open(encoding="utf-8", newline="") as file:
        found = [{"text": row["text"].strip()} for row in csv.DictReader(file)]
    drawn = np.random.default_rng(0).permutation(len(found))[:UNLABELLED]
    return [found[i] for i in sorted(drawn.tolist())]


def data_of(name: str) -> tuple[dict[str, Rows], list[dict[str, str]]]:
    data, test = rows(bool(METHODS[name].get("held")))
    more = {"more": Rows(texts())} if "unlabelled" in METHODS[name].get("beside", {}) else {}
    return {"rows": data, **more}, test


def recipe_for(name: str, seed: int, base: str) -> Recipe:
    chosen = METHODS[name]
    tree = {
        "base": base,
        "data": {"rows": {}},
        "heads": {"label": {"kind": "classify", "data": "rows", **chosen.get("head", {})}},
        "method": chosen.get("method", {}),
        "train": {**PLAIN, **chosen.get("train", {}), "seed": seed},
        **chosen.get("beside", {}),
    }
    return Recipe.parse(tree)


def key_of(name: str, seed: int, base: str) -> str:
    data, test = data_of(name)
    tested = hashlib.sha256(json.dumps(test).encode()).hexdigest()[:16]
    first = first_recipe(name, seed, base)
    asked = recipe_for(name, seed, base).hash()[:16] + (f"-{first.hash()[:16]}" if first else "")
    return f"{asked}-{data_hash(data)[:16]}-{tested}"


def first_recipe(name: str, seed: int, base: str) -> Recipe | None:
    """Return the recipe by which hidden words are learnt before, None for most rows."""
    if "first" not in METHODS[name]:
        return None
    heads = {"words": {"kind": "mlm", "data": "texts"}}
    train = {**METHODS[name]["first"], "seed": seed}
    return Recipe.parse({"base": base, "data": {"texts": {}}, "heads": heads, "train": train})


def measured(name: str, seed: int, base: str, home: Path) -> dict[str, Any]:
    """Train, then answer the test rows with the weights that were kept."""
    import torch

    from shared.finetuning import probe
    from shared.finetuning.train import finetune, open_training

    data, test = data_of(name)
    with tempfile.TemporaryDirectory() as aside:
        started, work = time.monotonic(), Path(aside)
        first = first_recipe(name, seed, base)
        if first:
            finetune(first, {"texts": Rows(texts())}, work / "first", home=home, work=work)
        begun = recipe_for(name, seed, str(work / "first") if first else base)
        opened = open_training(begun, data, home=home, work=work, progress=True)
        model, feed = opened.model, opened.feed
        recipe, _ = opened.tune(progress=True)
        seconds = time.monotonic() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if torch.cuda.is_available():
        peak = torch.cuda.max_memory_allocated() / 2**20
    vectors = probe.encode(model, feed, [row["text"] for row in test], precision=recipe.train.precision)
    with torch.inference_mode():
        at = next(model.heads["label"].parameters()).device
        best = model.heads["label"](torch.from_numpy(vectors).to(at)).argmax(1).tolist()
    labels = opened.specs[0].labels
    right = [labels[said] == row["label"] for said, row in zip(best, test, strict=True)]
    return {
        "recipe": recipe.hash(),
        "data": data_hash(data),
        **({"prepared": opened.told} if opened.told else {}),
        "seconds": round(seconds, 1),
        "peak_mb": round(peak),
        "accuracy": round(float(np.mean(right)), 5),
        "tested": len(right),
        "right": packed(right),
        "processor": processor(),
    }


def packed(right: list[bool]) -> str:
    """Return which test rows were right in a fraction of the letters; `unpacked` gives them back."""
    return base64.b64encode(np.packbits(np.asarray(right, bool)).tobytes()).decode()


def unpacked(text: str, rows: int) -> npt.NDArray[np.int8]:
    """Return (rows,) 1 where a test row was right, else 0."""
    return np.unpackbits(np.frombuffer(base64.b64decode(text), np.uint8), count=rows).astype(np.int8)


def processor() -> str:
    """Return what trained: the GPU's name, or the processor's with the threads of torch."""
    import torch

    if torch.cuda.is_available():
        return str(torch.cuda.get_device_name())
    lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines() if Path("/proc/cpuinfo").is_file() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{(named or [platform.machine()])[0]}, {torch.get_num_threads()} threads"


def kept_rows(path: Path) -> dict[str, dict[str, Any]]:
    return {row["key"]: row for row in kept.rows(path)}


def one(name: str, seed: int, base: str, home: Path, path: Path) -> None:
    key = key_of(name, seed, base)
    if key in kept_rows(path):
        print(f"{name}, seed {seed}: already there", file=sys.stderr)
        return
    about = {"key": key, "method": name, "seed": seed, "base": base, "commit": kept.commit()}
    row = {**about, **measured(name, seed, base, home)}
    kept.add(path, row)
    told = {k: v for k, v in row.items() if k not in ("right", "key")}
    print(json.dumps(told))


def gain(method: list[dict[str, Any]], plain: list[dict[str, Any]]) -> tuple[float, float, float]:
    """Return the mean gain in points over the seeds that both have, with its 95 % interval."""
    by_seed = {row["seed"]: row for row in plain}
    pairs = [(row, by_seed[row["seed"]]) for row in method if row["seed"] in by_seed]
    if not pairs:
        return float("nan"), float("nan"), float("nan")
    apart = np.stack(
        [unpacked(m["right"], m["tested"]) - unpacked(p["right"], p["tested"]) for m, p in pairs]
    )
    rng = np.random.default_rng(0)
    drawn = [
        100
        * apart[
            np.ix_(rng.integers(0, len(apart), len(apart)), rng.integers(0, apart.shape[1], apart.shape[1]))
        ].mean()
        for _ in range(DRAWS)
    ]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return float(100 * apart.mean()), float(low), float(high)


def verdict(seeds: int, low: float, high: float) -> str:
    """Return in words what an interval of gains says; one seed has misled before, so all are needed."""
    if seeds < len(SEEDS):
        return "seeds missing"
    return "helps" if low > 0 else "harms" if high < 0 else "no difference shown"


def table(base: str, path: Path) -> str:
    """Return the methods as Markdown: the plain recipe, then by gain, then those that were not run."""
    known = kept_rows(path)
    found = {n: [known[k] for s in SEEDS if (k := key_of(n, s, base)) in known] for n in METHODS}
    gains = {n: gain(own, found["plain"]) for n, own in found.items() if own}
    order = {n: np.inf if n == "plain" else np.nan_to_num(gains[n][0], nan=-np.inf) for n in gains}
    lines = []
    for name in sorted(gains, key=lambda n: -order[n]):
        own, (value, low, high) = found[name], gains[name]
        shown, said = f"{value:+.2f} [{low:+.2f}, {high:+.2f}]", verdict(len(own), low, high)
        if not np.isfinite(order[name]):  # the plain recipe itself, or none of its seeds to compare with
            shown = said = ""
        mean = {k: float(np.mean([row[k] for row in own])) for k in ("accuracy", "seconds", "peak_mb")}
        commits = ", ".join(sorted({row["commit"] for row in own}))
        lines.append(
            f"| {name} | {len(own)} | {100 * mean['accuracy']:.2f} | {shown} | {mean['seconds']:.0f} | "
            f"{mean['peak_mb']:.0f} | {commits} | {said} |"
        )
    lines += [f"| {name} | 0 | | | | | | not run |" for name, own in found.items() if not own]
    columns = ("method", "seeds", "accuracy", "gain [95 %]", "seconds", "peak MB", "commit", "verdict")
    head = [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    return HEAD.format(base=base) + "\n".join(head + lines) + "\n"


HEAD = """# What each method gains and costs

Made by `python tests/benchmarks/methods.py --table tests/benchmarks/METHODS.md` from rows of methods.jsonl:
BANKING77 with ten examples a class, base {base}; gains in points of test accuracy over the plain recipe; the
verdict is what the interval shows. Seconds are the training's own, on the processor that the row names.

"""


def main() -> None:
    parser = argparse.ArgumentParser(description="The gain and the cost of each method.")
    parser.add_argument("--method", choices=list(METHODS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--base", default=DEFAULT_BASE)
    parser.add_argument(
        "--table",
        nargs="?",
        type=Path,
        const=Path("/dev/stdout"),
        help="run nothing; the table goes into this file, without one it is printed",
    )
    parser.add_argument("--rows", type=Path, default=ROWS, help=f"where rows are kept (default {ROWS.name})")
    given = parser.parse_args()
    if not DATA.is_dir():
        sys.exit(f"the public data set is not at {DATA}")
    path = given.rows.resolve()
    if given.method:
        one(given.method, given.seed, given.base, load_settings().home, path)
        return
    if given.table:
        given.table.write_text(table(given.base, path), "utf-8")
        return
    failed = False
    for name in METHODS:
        for seed in SEEDS:
            if key_of(name, seed, given.base) not in kept_rows(path):  # a process each: memory is its own
                row = [__file__, "--method", name, "--seed", str(seed), "--base", given.base]
                row += ["--rows", str(path)]
                failed |= subprocess.run([sys.executable, *row], check=False).returncode != 0
    print(table(given.base, path), end="")
    sys.exit(int(failed))


if __name__ == "__main__":
    main()
