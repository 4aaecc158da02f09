"""Scoring: one pass of the model gives sentiment and topics; without topic labels keywords give these."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from services.sentiment.domain import LABELS, Article, Scored
from services.sentiment.topics import KeywordTopics, Topic, read_topics
from shared.artifacts.store import Artifact
from shared.errors import Damaged
from shared.models.engines import Runtime
from shared.models.heads import HeadSpec
from shared.models.text_model import Outputs, TextModel

SENTIMENT, TOPICS = "sentiment", "topics"  # the names of the heads
TOPICS_FILE = "topics.csv"  # in the bundle


class Model(Protocol):
    """What scoring needs of a text model."""

    heads: dict[str, HeadSpec]

    def run(self, texts: Sequence[str]) -> Outputs:
        """Answer all heads in one pass; row i belongs to text i."""


LoadModel = Callable[[Path], Model]


@dataclass(frozen=True)
class Scorer:
    """The live model. `topics` are all that it may find, `by_keywords` finds those without a label."""

    name: str
    model: Model
    topics: tuple[Topic, ...]
    by_keywords: KeywordTopics

    def score(self, articles: Sequence[Article]) -> list[Scored]:
        """Return the articles, scored, in their order; all texts go through the model in one call."""
        outputs = self.model.run([article.whole for article in articles])
        feelings, found = outputs.probabilities[SENTIMENT], outputs.probabilities.get(TOPICS)
        labels = self.model.heads[SENTIMENT].labels
        scored = []
        for row, article in enumerate(articles):
            chances = {label: round(float(p), 4) for label, p in zip(labels, feelings[row], strict=True)}
            topics = [] if found is None else _given(self.model.heads[TOPICS], found[row].tolist())
            topics += [name for name in self.by_keywords.find(article.whole) if name not in topics]
            scored.append(
                Scored(article, {label: chances[label] for label in LABELS}, tuple(topics), self.name)
            )
        return scored


def _given(head: HeadSpec, chances: Sequence[float]) -> list[str]:
    cuts = head.thresholds or [0.5] * len(head.labels)
    return [name for name, p, cut in zip(head.labels, chances, cuts, strict=True) if p >= cut]


def make_scorer(name: str, model: Model, topics: Sequence[Topic]) -> Scorer:
    """Return the scorer of a model and a topics file; raises Damaged for a model without our labels."""
    head = model.heads.get(SENTIMENT)
    if head is None or set(head.labels) != set(LABELS):
        raise Damaged(
            f"the model of {name} has no head {SENTIMENT!r} with the labels {', '.join(LABELS)}; "
            "run `trillium train sentiment`, or `trillium rollback sentiment`"
        )
    labels = list(model.heads[TOPICS].labels) if TOPICS in model.heads else []
    described = {topic.name: topic for topic in topics}
    every = [described.get(label, Topic(label)) for label in labels]
    others = [topic for topic in topics if topic.name not in labels]
    return Scorer(name, model, tuple(every + others), KeywordTopics(others))


def load_model(path: Path, threads: int | None = None, engine: Runtime = "auto") -> Model:
    """Load the model artifact in `path` and run its self-test."""
    # Only the worker scores, many articles at a time.
    return TextModel.load(path, slot="bulk", threads=threads, engine=engine)


def load(bundle: Artifact, load_one: LoadModel) -> Scorer:
    """Return the scorer of a bundle."""
    return make_scorer(str(bundle.ref), load_one(bundle.parent("model").path), topics_of(bundle))


def topics_of(bundle: Artifact) -> tuple[Topic, ...]:
    """Return the topics of a bundle: the labels that its model knows, and those by keywords."""
    return tuple(read_topics(bundle.path / TOPICS_FILE))
