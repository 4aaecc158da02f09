"""How far another engine's answers are from the exported graph's, for each head on its own metric."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import tokenizers

from shared.errors import BadInput
from shared.evaluation import classification, entities
from shared.models.heads import FloatArray, HeadSpec
from shared.models.reading import windows_of, word_tags
from shared.models.spans import best_answer
from shared.models.spans import entities as joined
from shared.models.text_model import TextModel
from shared.text.words import words

NEIGHBOURS = 10
EMBED_LIMIT, OTHER_LIMIT = 0.05, 0.003  # of the lost share of neighbours; of any other head's metric
Raw = Mapping[str, FloatArray]
Labels: TypeAlias = list[str] | list[list[str]]


@dataclass(frozen=True)
class Sample:
    """What is measured on: texts, for paired models the texts at their side, and by head, where there are
    any, the true labels (a label, or for multilabel a list) of the first rows."""

    texts: list[str]
    pairs: list[str] | None = None
    truth: dict[str, Labels] = field(default_factory=dict)

    def encode(self, model: TextModel) -> list[tokenizers.Encoding]:
        """Return the tokens of the texts as the model reads them."""
        return model.encode(self.texts, pairs=self.pairs)

    def cut(self, most: int) -> "Sample":
        """Return the first `most` texts with what belongs to them."""
        pairs = self.pairs[:most] if self.pairs is not None else None
        return Sample(self.texts[:most], pairs, {name: rows[:most] for name, rows in self.truth.items()})


def limit_of(head: HeadSpec, limit: float | None) -> float:
    """Return the largest loss that this head may have."""
    if limit is not None:
        return limit
    return EMBED_LIMIT if head.kind == "embed" else OTHER_LIMIT


def judge(reference: TextModel, other: TextModel, sample: Sample, raw: Raw, got: Raw) -> dict[str, Any]:
    """Return by head `{"metric", "loss", …}`: what `other` (its numbers `got`) loses to `reference`.

    A loss is 0 for no difference and may be below 0 where the true labels are known. embed: the share of
    the ten nearest neighbours that are lost; classify, multilabel: the drop of accuracy or micro F1 where
    the sample has true labels, else the share of texts with another decision; tag: 1 - entity F1 against
    the reference's entities; entity: the share of words that get another label; regress, score: 1 - R²
    against the reference; span: the share of other answers. A similarity head is judged by its vectors.
    """
    found = {}
    for name in raw:
        head = reference.heads[name]
        if head.kind in ("classify", "multilabel"):
            found[name] = _labels(head, other.heads[name], sample.truth.get(name), raw[name], got[name])
        elif head.kind == "embed":
            found[name] = _vectors(raw[name], got[name])
        elif head.kind == "span":
            found[name] = _answers(reference, other, sample)
        elif head.kind in ("tag", "entity"):
            found[name] = _tokens((reference, other), head, sample, raw[name], got[name])
        else:
            found[name] = _numbers(raw[name], got[name])
    return found


def passes(judged: Mapping[str, Any], heads: Mapping[str, HeadSpec], limit: float | None) -> bool:
    """Return whether no head loses more than it may."""
    return all(one["loss"] <= limit_of(heads[name], limit) + 1e-9 for name, one in judged.items())


def _vectors(raw: FloatArray, got: FloatArray) -> dict[str, Any]:
    cosines = (raw * got).sum(1)
    agreement = neighbour_agreement(raw, got)
    return {
        "metric": f"top-{NEIGHBOURS} agreement",
        "loss": 1 - agreement,
        "agreement": agreement,
        "cosine_mean": float(cosines.mean()),
        "cosine_min": float(cosines.min()),
    }


def neighbour_agreement(raw: FloatArray, got: FloatArray, k: int = NEIGHBOURS) -> float:
    """Return the mean share of each row's `k` nearest other rows that two sets of unit vectors share."""
    if len(raw) <= k:
        raise BadInput(f"neighbours of {len(raw)} texts can't be compared; give more than {k}")
    one, two = _nearest(raw, k), _nearest(got, k)
    return float(np.mean([len(set(a) & set(b)) / k for a, b in zip(one, two, strict=True)]))


def _nearest(vectors: FloatArray, k: int) -> list[list[int]]:
    scores = vectors @ vectors.T  # (texts, texts), cosine: rows are of unit length
    np.fill_diagonal(scores, -np.inf)
    found: list[list[int]] = np.argsort(-scores, axis=1, kind="stable")[:, :k].tolist()
    return found


def _labels(
    head: HeadSpec, own: HeadSpec, truth: Labels | None, raw: FloatArray, got: FloatArray
) -> dict[str, Any]:
    one, two = decided(head, raw), decided(own, got)
    if not truth:
        same = float(np.mean((one == two).all(axis=1)))
        return {"metric": "same decision", "loss": 1 - same}
    real = marked(head, truth)
    if head.kind == "multilabel":
        scores = [classification.micro_f1(real, said[: len(real)]) for said in (one, two)]
    else:
        scores = [float(np.mean((real == said[: len(real)]).all(axis=1))) for said in (one, two)]
    metric = "micro_f1" if head.kind == "multilabel" else "accuracy"
    return {"metric": metric, "loss": scores[0] - scores[1], "before": scores[0], "after": scores[1]}


def decided(head: HeadSpec, logits: FloatArray) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Return (n, labels): the most probable label of classify, all over their threshold of multilabel."""
    chances = head.decode(logits)
    if head.kind == "multilabel":
        return np.asarray(chances >= np.asarray(head.thresholds or [0.5] * len(head.labels)))
    return np.asarray(np.arange(len(head.labels)) == chances.argmax(1)[:, None])


def marked(head: HeadSpec, truth: Labels) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Return (n, labels): where the true labels stand; raises BadInput for one that the head lacks."""
    table = np.zeros((len(truth), len(head.labels)), bool)
    for row, given in enumerate(truth):
        for label in [given] if isinstance(given, str) else given:
            if label not in head.labels:
                raise BadInput(
                    f"row {row + 1}: {label!r} is no label of head {head.name!r}; "
                    f"it has {', '.join(head.labels)}"
                )
            table[row, head.labels.index(label)] = True
    return table


def _tokens(
    models: tuple[TextModel, TextModel], head: HeadSpec, sample: Sample, raw: FloatArray, got: FloatArray
) -> dict[str, Any]:
    one, two, same = [], [], []
    read = zip(*(sample.encode(model) for model in models), strict=True)  # each cuts texts its own way
    for at, cut in enumerate(read):
        places = [(word.start, word.end) for word in words(sample.texts[at])]
        before, after = (
            word_tags(head, rows[at], own.offsets, places) for rows, own in zip((raw, got), cut, strict=True)
        )
        same += [a == b for a, b in zip(before, after, strict=True)]
        one.append([entities.Span(*found) for found in joined(places, before)])
        two.append([entities.Span(*found) for found in joined(places, after)])
    if head.kind == "entity":
        return {"metric": "same label of a word", "loss": 1 - float(np.mean(same)) if same else 0.0}
    f1 = entities.entity_f1(one, two) if any(one) or any(two) else 1.0
    return {"metric": "entity_f1 against the exported graph", "loss": 1 - f1}


def _answers(reference: TextModel, other: TextModel, sample: Sample) -> dict[str, Any]:
    found = []
    for model in (reference, other):
        passages = windows_of(model, sample.texts, sample.pairs or [])
        found.append([best_answer(windows, no_answer=False)[:2] for windows in passages])
    same = float(np.mean([a == b for a, b in zip(*found, strict=True)]))
    return {"metric": "same answer", "loss": 1 - same}


def _numbers(raw: FloatArray, got: FloatArray) -> dict[str, Any]:
    spread = float(np.var(raw))
    lost = float(np.mean((raw - got) ** 2)) / spread if spread > 0 else 0.0
    return {"metric": "R² against the exported graph", "loss": lost}
