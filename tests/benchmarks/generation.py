"""A generator tuned on questions and replies, beside its untuned base, on threads that it never saw.

    python tests/benchmarks/generation.py [--base gemma-3-270m] [--minutes 8 | --steps N] [--threads 1]

StackFAQ: 125 threads of a question, its rephrasings and several answers, best first. By thread, a fifth is
for the test, a tenth for choosing the best epoch, the rest for tuning: answer i goes with wording i, so
that every answer is read once. Test and validation rows are a thread's own question and its best answer.
LoRA of rank 8 on all linear layers; a reply's first 96 tokens count. Perplexity is over reply tokens, the
reply's end among them; ROUGE-L is of greedy replies. Then the speed of writing, in the types that this
machine has, and with the packed weights of the GGUF file where transformers finds a kernel for them.

Each finished part is a line of TRILLIUM_HOME/benchmarks/generation.jsonl, so that a stopped run goes on.
"""

import argparse
import hashlib
import importlib
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from shared.evaluation.generation import perplexity
from shared.evaluation.resampling import interval
from shared.finetuning.generate import export_generator, finetune_generator
from shared.finetuning.generating import bases
from shared.finetuning.generating.recipe import rows_hash
from shared.finetuning.generating.scoring import measure
from shared.finetuning.generator import Generator
from shared.finetuning.hardware import best_precision
from shared.settings import load_settings

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "support" / "stackfaq"
LENGTHS = {"max_tokens": 192, "max_reply_tokens": 96}
WORDS = 64  # tokens a reply when speed is measured
Row = dict[str, Any]


def listed(value: Any) -> list[str]:
    return [text for text in (value if isinstance(value, list) else [value]) if text and text.strip(" *")]


def threads_of_stackfaq() -> tuple[list[Row], list[Row], list[Row]]:
    pairs = json.loads((DATA / "data/StackFAQ/stackExchange-FAQ.json").read_text("utf-8"))["root"]["qapair"]
    train, valid, test = list[Row](), list[Row](), list[Row]()
    for pair in pairs:
        asked, answers = [pair["question"], *listed(pair["rephr"])], listed(pair["answer"])
        draw = int.from_bytes(hashlib.sha256(pair["question"].encode()).digest()[:8]) % 10
        if draw < 3:
            (test if draw < 2 else valid).append({"question": asked[0], "reply": answers[0]})
        else:
            train += [
                {"question": asked[n % len(asked)], "reply": answer} for n, answer in enumerate(answers)
            ]
    return train, valid, test


class Kept:
    """Finished parts as JSON lines; a key names all that a part depends on."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = path.read_text("utf-8").splitlines() if path.is_file() else []
        self._rows = {row["key"]: row for row in map(json.loads, lines)}

    def part(self, name: str, about: Any, make: Callable[[], Row]) -> Row:
        key = hashlib.sha256(json.dumps([name, about], sort_keys=True).encode()).hexdigest()[:16]
        if key not in self._rows:
            self._rows[key] = {"key": key, "part": name, **make()}
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(self._rows[key], ensure_ascii=False) + "\n")
        return self._rows[key]


def scored(folder: Path, test: list[Row]) -> Row:
    scores = measure(Generator.load(folder), test, precision=best_precision())
    return {
        "perplexity": interval(perplexity, scores.nats, scores.tokens),
        "rouge_l": interval(lambda rouge: float(np.mean(rouge)), scores.rouge_l),
        "replies": scores.replies,
    }


def speed(generator: Generator, asked: list[Row]) -> Row:
    generator.reply(asked[0]["question"], max_new_tokens=4)  # the first call allocates
    return timed(lambda row: generator.reply(row["question"], max_new_tokens=WORDS).usage.reply_tokens, asked)


def timed(write: Callable[[Row], int], asked: list[Row]) -> Row:
    """Tokens a second by the clock and, which other work on the machine does not change, by the processor."""
    rates = []
    for row in asked:
        clock, busy = time.perf_counter(), time.process_time()
        count = write(row)
        rates.append((count / (time.perf_counter() - clock), count / (time.process_time() - busy)))
    by_clock, by_processor = np.median(rates, axis=0)
    return {"tokens_per_second": float(by_clock), "tokens_per_busy_second": float(by_processor)}


def packed(base: str, folder: Path, asked: list[Row]) -> Row:
    """Serve the GGUF file itself; transformers unpacks it unless it finds a kernel for this processor."""
    from transformers import AutoModelForCausalLM, GgufConfig

    known = bases.KNOWN[base]
    with tempfile.TemporaryDirectory() as aside:
        file = importlib.import_module(known.package).assemble(Path(aside) / "model.gguf")
        begin = time.perf_counter()
        model = AutoModelForCausalLM.from_pretrained(
            aside, gguf_file=file.name, quantization_config=GgufConfig(), dtype=torch.float32
        )
        loading = time.perf_counter() - begin
        size = sum(part.numel() * part.element_size() for part in {*model.parameters(), *model.buffers()})
        whole = Generator.load(folder)
        kept = {"megabytes": size / 1e6, "file": file.stat().st_size / 1e6, "loading": loading}
        return {**speed(Generator(model, whole.encoding, whole.card), asked), **kept}


def main() -> None:
    parser = argparse.ArgumentParser(description="A tuned generator beside its base.")
    parser.add_argument("--base", default="gemma-3-270m")
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--steps", type=int, help="so many steps of 4 rows, whatever they take")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, help="keep the tuned folder here")
    given = parser.parse_args()
    if not DATA.is_dir():
        sys.exit(f"the public data set is not at {DATA}")
    torch.set_num_threads(given.threads)
    home = load_settings().home
    train, valid, test = threads_of_stackfaq()
    kept = Kept(home / "benchmarks" / "generation.jsonl")
    folders = given.out or home / "benchmarks" / "generation"
    about = {**vars(given), "out": None, "data": rows_hash(train, valid, test), **LENGTHS}

    def frozen() -> Path:
        if not (folders / "base" / "recipe.json").is_file():
            export_generator(given.base, folders / "base", home=home, **LENGTHS)
        return folders / "base"

    def tuned() -> Row:
        effort = {"steps": given.steps} if given.steps else {"minutes": given.minutes}
        fields = {"base": given.base, "batch": 4, "accumulate": 1, "warmup": 10, **effort, **LENGTHS}
        begin = time.process_time()
        report = finetune_generator(fields, train, valid, folders / "tuned", home=home)
        busy = time.process_time() - begin
        recipe = {"recipe": report.recipe.model_dump(mode="json"), "curve": report.curves["epochs"]}
        return {**scored(folders / "tuned", test), **recipe, "seconds": report.seconds, "busy": busy}

    print(f"{len(train)} rows for tuning, {len(valid)} to choose the epoch, {len(test)} unseen threads")
    before = kept.part("base", [given.base, about["data"], LENGTHS], lambda: scored(frozen(), test))
    after = kept.part("tuned", about, tuned)
    print(f"{'method':<28} {'perplexity (95 %)':<24} ROUGE-L (95 %)")
    for name, row in (("untuned", before), ("LoRA, rank 8", after)):
        shown = [
            f"{value:.3f} ({low:.3f}-{high:.3f})" for value, low, high in (row["perplexity"], row["rouge_l"])
        ]
        print(f"{name:<28} {shown[0]:<24} {shown[1]}")
    print(
        f"tuned in {after['seconds']:.0f} s, {after['busy']:.0f} s of them on the processor, validation and "
        f"its replies included; {after['recipe']['steps']} steps of 4 rows; validation rows:"
    )
    for point in after["curve"]:
        print(f"  step {point['step']:<5} perplexity {point['perplexity']:.2f}")
    for n in (0, len(test) // 2, len(test) - 1):
        print(f"\nQ  {test[n]['question']}\nreply    {test[n]['reply'][:300]}")
        print(f"untuned  {before['replies'][n][:300]}\ntuned    {after['replies'][n][:300]}")
    for name, make in {
        "float32": lambda: speed(Generator.load(frozen()), test[:5]),
        "bfloat16": lambda: speed(Generator.load(frozen(), precision="bf16"), test[:5]),
        "packed": lambda: packed(given.base, frozen(), test[:5]),
    }.items():
        if name == "packed" and given.base not in bases.KNOWN:
            continue
        row = kept.part(name, {"base": given.base, "threads": given.threads}, make)
        rates = (
            f"{row['tokens_per_second']:.1f} tokens/s, {row['tokens_per_busy_second']:.1f} a processor second"
        )
        print(f"writing one reply at a time, {name}: {rates}", end="")
        print(f"; {row['megabytes']:.0f} MB of weights, file {row['file']:.0f} MB" if "file" in row else "")


if __name__ == "__main__":
    main()
