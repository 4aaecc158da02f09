"""Encoding 20-token texts in every engine and precision, beside sentence-transformers fp32 in the same run.

Agreement: of the ten nearest BANKING77 train texts of a test query, the share that fp32 finds too. The last
lines name the fastest that agree in .95 and in .90. Times are medians, taken in turns, of tokens to vectors;
run it on a machine that does nothing else.
"""

import argparse
import csv
import logging
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from shared.finetuning.bases import resolve
from shared.finetuning.train import export_frozen
from shared.finetuning.variants import quiet, variants
from shared.models.batching import pad
from shared.models.card import TOKENIZER, ModelCard
from shared.models.engines import usable_cores
from shared.models.text_model import TextModel, load_tokenizer
from shared.settings import load_settings

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "support" / "banking77"
REFERENCE = "sentence-transformers fp32"
AIMS = (0.95, 0.90)
BATCH, NEIGHBOURS = 32, 10
Vectors = npt.NDArray[np.float32]
Embed = Callable[[list[str]], Vectors]


def texts_of(name: str, count: int, seed: int = 0) -> list[str]:
    with (DATA / name).open(encoding="utf-8", newline="") as file:
        every = list(dict.fromkeys(row["text"].strip() for row in csv.DictReader(file)))
    chosen = np.random.default_rng(seed).permutation(len(every))[: count or len(every)]
    return [every[i] for i in chosen]


def sentence_transformer(base: str, home: Path) -> Embed:
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(usable_cores())
    found = resolve(base, home=home, fetch=True)
    model = SentenceTransformer(str(found.path), device="cpu", local_files_only=True)
    if not (found.path / "modules.json").is_file() and found.pooling == "cls":  # it would be read as mean
        model = _with_cls(found.path)

    def embed(texts: list[str]) -> Vectors:
        return np.asarray(
            model.encode(texts, batch_size=BATCH, normalize_embeddings=True, show_progress_bar=False)
        )

    return embed


def _with_cls(path: Path):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Pooling, Transformer

    body = Transformer(str(path))
    return SentenceTransformer(modules=[body, Pooling(body.get_embedding_dimension(), "cls")], device="cpu")


def served(folder: Path, calibration: list[str]) -> dict[str, Embed]:
    """Each variant as a text model serves it, tokenising included."""
    card = ModelCard.read(folder)
    encodings = load_tokenizer(folder / TOKENIZER, card.max_tokens).encode_batch(calibration)
    samples = [(*pad([one.ids], card.pad_id), None) for one in encodings]
    found = {}
    for variant in variants():
        variant.build(folder, samples)
        engine = variant.open(folder, usable_cores())
        model = TextModel(card, load_tokenizer(folder / TOKENIZER, card.max_tokens), engine)
        found[variant.name] = model.embed
    return found


def nearest(embed: Embed, queries: list[str], texts: list[str]) -> Vectors:
    scores = embed(queries) @ embed(texts).T  # (queries, texts), cosine
    return np.argsort(-scores, axis=1, kind="stable")[:, :NEIGHBOURS]


def agreement(one: Vectors, two: Vectors) -> float:
    return float(np.mean([len(set(a) & set(b)) / NEIGHBOURS for a, b in zip(one, two, strict=True)]))


def speeds(engines: dict[str, Embed], texts: list[str], seconds: float) -> dict[str, tuple[float, float]]:
    """Texts a second by engine: (batches of 32, one at a time), medians over turns."""
    batch = texts[:BATCH]
    for embed in engines.values():
        for _ in range(3):
            embed(batch)
            embed(batch[:1])
    together: dict[str, list[float]] = {name: [] for name in engines}
    alone: dict[str, list[float]] = {name: [] for name in engines}
    end, turn = time.monotonic() + seconds, 0
    while time.monotonic() < end or turn < 5:
        for name, embed in engines.items():
            together[name].append(timed(embed, batch))
            alone[name] += [timed(embed, [batch[(turn + i) % BATCH]]) for i in range(8)]
        turn += 1
    return {n: (BATCH / float(np.median(together[n])), 1 / float(np.median(alone[n]))) for n in engines}


def timed(embed: Embed, texts: list[str]) -> float:
    start = time.perf_counter()
    embed(texts)
    return time.perf_counter() - start


def run(base: str, home: Path, queries: int, texts: int, seconds: float) -> None:
    train, test = texts_of("train.csv", texts), texts_of("test.csv", queries)
    with tempfile.TemporaryDirectory() as aside:
        folder = Path(aside) / "frozen"
        export_frozen(base, folder, home=home)
        engines = {REFERENCE: sentence_transformer(base, home)}
        with quiet():
            engines |= served(folder, texts_of("train.csv", 300, seed=1))
        tokenizer = load_tokenizer(folder / TOKENIZER, 512)
        lengths = [(abs(len(tokenizer.encode(text).ids) - 20), text) for text in texts_of("test.csv", 0)]
        twenty = [text for _, text in sorted(lengths)[:BATCH]]
        quick = speeds(engines, twenty, seconds)
        found = {name: nearest(embed, test, train) for name, embed in engines.items()}
    print(f"{base}: {len(test)} queries, {len(train)} texts, {usable_cores()} threads")
    print(
        f"{'engine':<28} {'batch 32, texts/s':>18} {'ratio':>6} {'batch 1, texts/s':>17} {'ratio':>6}  top-10"
    )
    plain, agreed = quick[REFERENCE], {}
    for name, (many, one) in quick.items():
        agreed[name] = agreement(found[REFERENCE], found[name])
        print(
            f"{name:<28} {many:>18.0f} {many / plain[0]:>6.2f} {one:>17.0f} {one / plain[1]:>6.2f}  "
            f"{agreed[name]:.3f}"
        )
    for aim in AIMS:
        fit = [name for name, share in agreed.items() if share >= aim]
        best = [max(fit, key=lambda name: quick[name][i]) for i in (0, 1)]
        ratios = [quick[name][i] / plain[i] for i, name in enumerate(best)]
        print(
            f"fastest at top-10 >= {aim}: batch 32 {ratios[0]:.2f} ({best[0]}), batch 1 {ratios[1]:.2f} "
            f"({best[1]})",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description="Encoding speed beside sentence-transformers.")
    parser.add_argument("--base", action="append", help="by default MiniLM and bge-small-en-v1.5")
    parser.add_argument("--queries", type=int, default=500, help="0 for all")
    parser.add_argument("--texts", type=int, default=2000, help="0 for all")
    parser.add_argument("--seconds", type=float, default=60.0, help="of measuring speed, for each base")
    given = parser.parse_args()
    if not DATA.is_dir():
        sys.exit(f"the public data sets are not at {DATA}")
    logging.getLogger("sentence_transformers").setLevel(logging.ERROR)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    load = os.getloadavg()[0]
    if load > 0.5:
        print(f"note: {load:.1f} other processes run; ratios are rough")
    for base in given.base or ["all-MiniLM-L6-v2", "bge-small-en-v1.5"]:
        run(base, load_settings().home, given.queries, given.texts, given.seconds)


if __name__ == "__main__":
    main()
