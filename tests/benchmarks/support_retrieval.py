"""Retrieval as the support service does it (chunks with their title, exact cosine), beside BM25.

    python tests/benchmarks/support_retrieval.py [--base all-MiniLM-L6-v2] [--set stackfaq|tau2_banking]

stackfaq: 719 question-answer pairs, every rephrasing is a query, all pairs of its thread are right. The
default base has read StackExchange: a regression test, no proof. tau2_banking: 698 documents, the query
is the whole scenario of a task, right are the documents that it needs. The base is frozen: nothing here
was tuned on either set. BM25 (k1 = 1.2, b = 0.75) reads the same texts, chunk by chunk.
"""

import argparse
import json
import math
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shared.evaluation.ranking import bootstrap_mean, mrr, recall_each
from shared.finetuning.train import export_frozen
from shared.index.flat import FlatIndex
from shared.models.text_model import TextModel
from shared.settings import load_settings
from shared.text.chunk import chunk
from shared.text.words import words

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "support"
DEPTH = 100  # documents that are ranked; what lies below counts as not found


@dataclass(frozen=True)
class Corpus:
    """Documents by id as (title, text); queries, each with the ids that are right."""

    documents: dict[str, tuple[str, str]]
    queries: list[str]
    right: list[set[str]]


def stackfaq() -> Corpus:
    pairs = json.loads((DATA / "stackfaq/data/StackFAQ/stackExchange-FAQ.json").read_text("utf-8"))
    documents: dict[str, tuple[str, str]] = {}
    queries: list[str] = []
    right: list[set[str]] = []
    for n, pair in enumerate(pairs["root"]["qapair"]):
        answers = pair["answer"] if isinstance(pair["answer"], list) else [pair["answer"]]
        thread = {f"{n}.{i}": (pair["question"], text) for i, text in enumerate(answers)}
        documents |= thread
        asked = pair["rephr"] if isinstance(pair["rephr"], list) else [pair["rephr"]]
        for text in asked:
            if text and text.strip(" *"):  # 126 are missing, empty or a star
                queries.append(text)
                right.append(set(thread))
    return Corpus(documents, queries, right)


def tau2_banking() -> Corpus:
    folder = DATA / "tau2_banking/data/tau2/domains/banking_knowledge"
    found = (json.loads(path.read_text("utf-8")) for path in sorted((folder / "documents").iterdir()))
    documents = {one["id"]: (one["title"], one["content"]) for one in found}
    tasks = json.loads((folder / "tasks.json").read_text("utf-8"))
    return Corpus(
        documents,
        [task["user_scenario"]["instructions"] for task in tasks],
        [set(task["required_documents"]) for task in tasks],
    )


SETS = {"stackfaq": stackfaq, "tau2_banking": tau2_banking}


def documents_of(chunks: Sequence[str]) -> list[str]:
    """Chunks, best first, to their documents; each stands where its best chunk stood."""
    return list(dict.fromkeys(name.rpartition("#")[0] for name in chunks))[:DEPTH]


def dense(model: TextModel, chunks: dict[str, str], queries: Sequence[str]) -> Iterator[list[str]]:
    index = FlatIndex(model.dim)
    index.add(list(chunks), model.embed(list(chunks.values())))
    for hits in index.search(model.embed(queries, query=True), 4 * DEPTH):
        yield documents_of([hit.id for hit in hits])


def bm25(
    chunks: dict[str, str], queries: Sequence[str], k1: float = 1.2, b: float = 0.75
) -> Iterator[list[str]]:
    names = list(chunks)
    counts = [Counter(word.text.casefold() for word in words(text)) for text in chunks.values()]
    lengths = np.array([sum(one.values()) for one in counts], float)
    norm = k1 * (1 - b + b * lengths / lengths.mean())
    rows: dict[str, list[tuple[int, int]]] = {}
    for row, one in enumerate(counts):
        for word, count in one.items():
            rows.setdefault(word, []).append((row, count))
    for query in queries:
        scores = np.zeros(len(names))
        for word in words(query):
            held = rows.get(word.text.casefold(), [])
            weight = math.log(1 + (len(names) - len(held) + 0.5) / (len(held) + 0.5))
            for row, count in held:
                scores[row] += weight * count * (k1 + 1) / (count + norm[row])
        yield documents_of([names[row] for row in np.argsort(-scores, kind="stable")[: 4 * DEPTH]])


def average_precision(ranked: Sequence[str], right: set[str]) -> float:
    places = [place for place, name in enumerate(ranked, 1) if name in right]
    return sum(n / place for n, place in enumerate(places, 1)) / len(right)


def line(name: str, ranked: list[list[str]], right: list[set[str]]) -> str:
    precision = np.array([average_precision(*pair) for pair in zip(ranked, right, strict=True)])
    shown = [f"{value:.3f} ({low:.3f}-{high:.3f})" for value, low, high in (
        bootstrap_mean(precision), bootstrap_mean(recall_each(ranked, right, 10))
    )]  # fmt: skip
    deeper = float(np.mean(recall_each(ranked, right, 20)))
    return f"{name:<28} {shown[0]:<22} {mrr(ranked, right):<7.3f} {shown[1]:<22} {deeper:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description="Retrieval on public data, beside BM25.")
    parser.add_argument("--set", choices=sorted(SETS), action="append")
    parser.add_argument("--base", default="all-MiniLM-L6-v2")
    given = parser.parse_args()
    if not DATA.is_dir():
        sys.exit(f"the public data sets are not at {DATA}")
    with tempfile.TemporaryDirectory() as aside:
        export_frozen(given.base, Path(aside) / "frozen", home=load_settings().home)
        model = TextModel.load(Path(aside) / "frozen")
        for name in given.set or SETS:
            corpus = SETS[name]()
            chunks = {
                f"{id_}#{piece.id_suffix}": piece.text
                for id_, (title, text) in corpus.documents.items()
                for piece in chunk(title, text)
            }
            print(
                f"{name}: {len(corpus.documents)} pages, {len(chunks)} chunks, {len(corpus.queries)} queries"
            )
            print(f"{'method':<28} {'MAP (95 %)':<22} {'MRR':<7} {'R@10 (95 %)':<22} R@20")
            print(line(f"dense, {given.base}", list(dense(model, chunks, corpus.queries)), corpus.right))
            print(line("BM25", list(bm25(chunks, corpus.queries)), corpus.right), flush=True)


if __name__ == "__main__":
    main()
