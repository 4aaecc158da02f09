"""Held-out figures of what is live, each beside a plain baseline that was trained on the same rows."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.demonstrating.place import SAMPLES, Place
from shared.artifacts.live import Pointer
from shared.artifacts.store import Artifact, ArtifactStore
from shared.evaluation.baselines import tfidf_svm
from shared.evaluation.classification import accuracy
from shared.models.card import SlotName
from shared.models.text_model import TextModel

TOO_EASY = 0.95  # a plain method above this means that the data shows nothing


@dataclass(frozen=True)
class Figure:
    """One line of the table: values are 0 to 1, higher is better; `rows` were never trained on."""

    what: str
    rows: int
    value: float
    plain: float
    plain_name: str


def figures(place: Place) -> list[Figure]:
    """Return the table of the three applications."""
    store = ArtifactStore(place.home / "artifacts")
    return [
        *_classified(store, "support", "intent", "tickets.csv", "question", "intent"),
        *_classified(store, "sentiment", "sentiment", "train.csv", "text", "sentiment"),
        _ranked(_live(store, "recommender")),
    ]


def rows_of(path: Path) -> list[dict[str, str]]:
    """Return the rows of one of the example CSV files."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _live(store: ArtifactStore, app: str) -> Artifact:
    return store.open(str(Pointer(store, app).current()))


def _classified(store: ArtifactStore, app: str, head: str, train: str, text: str, label: str) -> list[Figure]:
    known, unseen = rows_of(SAMPLES / app / train), rows_of(SAMPLES / app / "held_out.csv")
    texts, truth = [row[text] for row in unseen], [row[label] for row in unseen]
    slot: SlotName = "bulk" if app == "sentiment" else "interactive"  # what the application serves with
    model = TextModel.load(_live(store, app).parent("model").path, slot=slot)
    shares = model.run(texts, query=app == "support").probabilities[head]
    said = [model.heads[head].labels[int(i)] for i in shares.argmax(1)]
    plain = tfidf_svm([row[text] for row in known], [row[label] for row in known], texts)
    name = "TF-IDF + linear SVM"
    return [
        Figure(f"{app}: {head}, accuracy", len(texts), accuracy(truth, said), accuracy(truth, plain), name)
    ]


def _ranked(bundle: Artifact) -> Figure:
    test: dict[str, dict[str, Any]] = bundle.manifest.metrics["test"]
    others = {name: float(row["ndcg_at_20"]) for name, row in test.items() if name != "product"}
    best = max(others, key=lambda name: others[name])
    users = int(bundle.manifest.metrics.get("rows", 0) or bundle.manifest.metrics.get("users", 0))
    value = float(test["product"]["ndcg_at_20"])
    return Figure("recommender: nDCG@20, full catalogue", users, value, others[best], f"best plain: {best}")


def too_easy(found: Sequence[Figure]) -> list[str]:
    """Return what is wrong with the example data: a plain method that is right nearly always."""
    return [f"{one.what}: {one.plain_name} reaches {one.plain:.3f}" for one in found if one.plain > TOO_EASY]
