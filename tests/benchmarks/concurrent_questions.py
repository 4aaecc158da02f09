"""Questions of many threads at one model: each its own pass, or shared passes as the services make them.

    python tests/benchmarks/concurrent_questions.py [--compressed] [--model FOLDER] [--questions 600]

Prints questions a second and the median and 95th percentile of a question's time for 1, 8 and 32 threads,
and the ratio of shared to own passes in the same run, taken in turns. No question comes twice, so nothing
that is remembered counts; the last line says what a question takes that was asked before.
"""

import argparse
import csv
import itertools
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from shared.finetuning.compress import compress
from shared.finetuning.recipe import DEFAULT_BASE
from shared.finetuning.train import export_frozen
from shared.models.shared_model import SharedModel
from shared.models.text_model import TextModel
from shared.settings import Runtime, load_settings

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "support" / "banking77"
THREADS = (1, 8, 32)
ROUNDS = 3
Ask = Callable[[str], object]


def questions(count: int) -> list[str]:
    with (DATA / "train.csv").open(encoding="utf-8", newline="") as file:
        every = list(dict.fromkeys(row["text"].strip() for row in csv.DictReader(file)))
    chosen = np.random.default_rng(0).permutation(len(every))
    return [every[i] for i in itertools.islice(itertools.cycle(chosen.tolist()), count)]


def timed(ask: Ask, texts: list[str], threads: int) -> tuple[float, list[float]]:
    """Return questions a second and the seconds of each."""
    todo, spent, lock = iter(texts), list[float](), threading.Lock()

    def work() -> None:
        while True:
            with lock:
                text = next(todo, None)
            if text is None:
                return
            start = time.perf_counter()
            ask(text)
            spent.append(time.perf_counter() - start)

    workers = [threading.Thread(target=work) for _ in range(threads)]
    start = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return len(texts) / (time.perf_counter() - start), spent


def main() -> None:
    parser = argparse.ArgumentParser(description="Questions of many threads, own passes beside shared ones.")
    parser.add_argument("--model", type=Path, help="a model folder; by default the frozen default base")
    parser.add_argument("--compressed", action="store_true", help="as `trillium compress` makes it")
    parser.add_argument("--questions", type=int, default=600)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as aside:
        folder = args.model or Path(aside) / "frozen"
        if args.model is None:
            export_frozen(DEFAULT_BASE, folder, home=load_settings().home)
        if args.compressed:
            compress(folder, Path(aside) / "compressed")
            folder = Path(aside) / "compressed"
        model = TextModel.load(folder)
    print(model.served_by)
    shared = SharedModel(model, Runtime(memo_bytes=0))
    ways: dict[str, Ask] = {
        "own passes": lambda text: model.run([text], query=True),
        "shared passes": lambda text: shared.run([text], query=True),
    }
    texts = questions(args.questions)
    print("| threads | way | questions/s | median ms | p95 ms | ratio |\n|---|---|---|---|---|---|")
    for threads in THREADS:
        speeds: dict[str, list[float]] = {way: [] for way in ways}
        times: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(ROUNDS):
            for way, ask in ways.items():
                speed, spent = timed(ask, texts, threads)
                speeds[way].append(speed)
                times[way] += spent
        own = np.median(speeds["own passes"])
        for way in ways:
            median, p95 = np.percentile(times[way], (50, 95)) * 1e3
            speed = float(np.median(speeds[way]))
            cells = (threads, way, f"{speed:.0f}", f"{median:.1f}", f"{p95:.1f}", f"{speed / own:.2f}")
            print(f"| {' | '.join(map(str, cells))} |", flush=True)
    remembering = SharedModel(model, Runtime())
    remembering.run(texts, query=True)
    _, spent = timed(lambda text: remembering.run([text], query=True), texts, 1)
    print(f"\nasked before: {np.median(spent) * 1e3:.3f} ms")


if __name__ == "__main__":
    main()
