"""How good a model is on labelled rows: while it is being trained, and as it is served."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from shared.evaluation import answers, classification, entities, regression
from shared.evaluation.detection import auroc
from shared.evaluation.ranking import mrr
from shared.finetuning.backbone import HeadedModel
from shared.finetuning.collate import IGNORED, Collator, masker
from shared.finetuning.examples import Example
from shared.finetuning.feeding import Feed
from shared.finetuning.outputs import (
    Said,
    answer,
    entities_of,
    grades,
    placed,
    said_in_training,
    stacked,
    tag_spans,
)
from shared.finetuning.probe import encode
from shared.models.heads import FloatArray, HeadSpec, sigmoid, softmax

Pair = tuple[str, str, str]  # positive, hard negative or "", group
PAIRS = 1000  # of an embed head; every anchor is compared with every positive
TINY = 1e-12
Measured = tuple[float, float]  # score 0 to 1, higher is better; loss


def validate(model: HeadedModel, feed: Feed, rows: Sequence[Example], precision: str) -> dict[str, float]:
    """Return {"score", "loss", HEAD: …}, by head a figure of 0 to 1.

    classify and entity: macro F1; multilabel: micro F1 at 0.5; regress: rank correlation, not below 0;
    score and similarity: AUROC where the grades are 0 and 1, else rank correlation; tag: F1 of exact
    entities; span: token F1; embed: mean reciprocal rank of the positive among all; mlm: the probability
    of a hidden word (geometric mean). `score` is their mean, `loss` the mean loss of the heads that have one.
    """
    served = [name for name, spec in model.specs.items() if spec.kind != "mlm"]
    said = said_in_training(model, feed, rows, precision) if served else []
    scores: dict[str, float] = {}
    losses = []
    for name, spec in model.specs.items():
        chosen = [i for i, row in enumerate(rows) if name in row.targets]
        if not chosen:
            continue
        own = [rows[i] for i in chosen]
        if spec.kind == "embed":
            vectors = stacked([said[i] for i in chosen], name)
            targets = [row.targets[name] for row in own]
            scores[name] = pair_rank(vectors, targets, lambda t: encode(model, feed, t, precision=precision))
            continue
        if spec.kind == "mlm":
            loss = hidden_loss(model, feed, own, precision)
            scores[name] = float(np.exp(-loss))
        else:
            scores[name], loss = measure(spec, own, [said[i] for i in chosen])
        losses.append(loss)
    mean = float(np.mean(list(scores.values()))) if scores else 0.0
    return {"score": mean, "loss": float(np.mean(losses)) if losses else 0.0, **scores}


def measure(spec: HeadSpec, rows: Sequence[Example], said: Sequence[Said]) -> Measured:
    """Return (score, loss) of a head on rows that all have a target for it."""
    found = {
        "classify": _classify,
        "multilabel": _multilabel,
        "regress": _regress,
        "score": _score,
        "similarity": _score,
        "tag": _tag,
        "entity": _entity,
        "span": _span,
    }[spec.kind](spec, rows, said)
    return found if np.isfinite(found[0]) else (0.0, found[1])


def _classify(spec: HeadSpec, rows: Sequence[Example], said: Sequence[Said]) -> Measured:
    targets = np.asarray([row.targets[spec.name] for row in rows])
    return _labels(stacked(said, spec.name), targets)


def _labels(logits: FloatArray, targets: Any) -> Measured:
    values = logits.astype(np.float64)
    chosen = softmax(values)[np.arange(len(targets)), targets]
    truth, said = ([str(label) for label in labels] for labels in (targets, values.argmax(1)))
    return classification.macro_f1(truth, said), float(-np.mean(np.log(chosen + TINY)))


def _multilabel(spec: HeadSpec, rows: Sequence[Example], said: Sequence[Said]) -> Measured:
    targets = np.asarray([row.targets[spec.name] for row in rows])
    p = np.clip(sigmoid(stacked(said, spec.name).astype(np.float64)), 1e-9, 1 - 1e-9)
    loss = -np.mean(targets * np.log(p) + (1 - targets) * np.log(1 - p))
    return classification.micro_f1(targets > 0, p >= 0.5), float(loss)


def _regress(spec: HeadSpec, rows: Sequence[Example], said: Sequence[Said]) -> Measured:
    targets = np.asarray([row.targets[spec.name] for row in rows])
    values = stacked(said, spec.name)[:, 0]
    return max(0.0, regression.spearman(targets, values)), regression.mse(targets, values)


def _score(spec: HeadSpec, rows: Sequence[Example], said: Sequence[Said]) -> Measured:
    targets = grades(spec, rows)
    p = np.clip(sigmoid(stacked(said, spec.name)[:, 0].astype(np.float64)), 1e-9, 1 - 1e-9)
    loss = -np.mean(targets * np.log(p) + (1 - targets) * np.log(1 - p))
    graded = bool(np.any((targets > 0) & (targets < 1)))
    figure = max(0.0, regression.spearman(targets, p)) if graded else auroc(targets > 0.5, p)
    return figure, float(loss)


def _tag(spec: HeadSpec, rows: Sequence[Example], said: Sequence[Said]) -> Measured:
    truth, predicted = tag_spans(spec, rows, said)
    spans = [
        [entities_of(row, spec.name, tags) for row, tags in zip(rows, side, strict=True)]
        for side in (truth, predicted)
    ]
    wrong = [
        one != other for t, p in zip(truth, predicted, strict=True) for one, other in zip(t, p, strict=True)
    ]
    return entities.entity_f1(*spans), float(np.mean(wrong)) if wrong else 0.0


def _entity(spec: HeadSpec, rows: Sequence[Example], said: Sequence[Said]) -> Measured:
    numbers, targets = placed(spec, rows, said)
    return _labels(numbers, targets) if len(numbers) else (0.0, 0.0)


def _span(spec: HeadSpec, rows: Sequence[Example], said: Sequence[Said]) -> Measured:
    none = any(row.targets[spec.name] == (0, 0) for row in rows)
    truths = [str(row.pair)[slice(*row.targets[spec.name])] for row in rows]
    found = [answer(row, one, no_answer=none) for row, one in zip(rows, said, strict=True)]
    scores = answers.each(answers.token_f1, truths, [text for text, _ in found])
    sure = [max(TINY, where.score) if s else 1.0 for (_, where), s in zip(found, scores, strict=True)]
    return float(scores.mean()), float(-np.mean(np.log(sure)) + np.mean(scores == 0))


def hidden_loss(model: HeadedModel, feed: Feed, rows: Sequence[Example], precision: str) -> float:
    """Return the mean loss of hidden words, the same words at every call; e to it is the perplexity."""
    sums, counts = hidden_losses(model, feed, rows, precision)
    return float(sums.sum() / counts.sum()) if counts.sum() else 0.0


def hidden_losses(
    model: HeadedModel, feed: Feed, rows: Sequence[Example], precision: str, seed: int = 0
) -> tuple[FloatArray, FloatArray]:
    """Return (n,) the summed loss of each row's hidden words, and how many they are."""
    (spec,) = [spec for spec in model.specs.values() if spec.kind == "mlm"]
    device = next(model.parameters()).device
    collate = Collator([spec], feed, masker(feed.tokenizer, seed))
    alone = [Example(row.text, {spec.name: True}) for row in rows]
    sums, counts = np.zeros(len(rows), np.float32), np.zeros(len(rows), np.float32)
    training = model.training
    model.eval()
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, precision == "bf16"):
        for start in range(0, len(alone), 32):
            batch = collate(alone[start : start + 32])
            labels = batch["targets"][spec.name]["labels"].to(device)
            inputs = {k: v.to(device) for k, v in batch.items() if k not in ("targets", "labels")}
            logits = model.heads[spec.name](model.tokens(**inputs), labels)
            hidden = labels != IGNORED
            losses = torch.nn.functional.cross_entropy(logits, labels[hidden], reduction="none")
            by_row = torch.zeros(len(labels), device=device).index_add(0, hidden.nonzero()[:, 0], losses)
            sums[start : start + len(labels)] = by_row.cpu().numpy()
            counts[start : start + len(labels)] = hidden.sum(1).cpu().numpy()
    model.train(training)
    return sums, counts


def pair_rank(anchors: FloatArray, pairs: Sequence[Pair], embed: Callable[[list[str]], FloatArray]) -> float:
    """Return the mean reciprocal rank of each anchor's first right positive among the distinct ones, 0 to 1.

    Right are the positives of the anchor's own group. At most 1,000 pairs are looked at.
    """
    ranked, groups = ranked_positives(anchors[:PAIRS], pairs[:PAIRS], embed)
    return mrr(ranked, groups)


def ranked_positives(
    anchors: FloatArray, pairs: Sequence[Pair], embed: Callable[[list[str]], FloatArray]
) -> tuple[list[list[str]], list[set[str]]]:
    """Return for each anchor the distinct positives, nearest first, and those that are right: its group's."""
    groups: dict[str, set[str]] = {}
    for positive, _, group in pairs:
        groups.setdefault(group, set()).add(positive)
    positives = list(dict.fromkeys(positive for positive, _, _ in pairs))
    scores = anchors @ embed(positives).T  # (anchors, positives), cosine: both are unit length
    order = np.argsort(-scores, axis=1, kind="stable")
    return [[positives[j] for j in row] for row in order], [groups[group] for _, _, group in pairs]
