"""How good the model is on validation rows, while it is being trained."""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from shared.evaluation import classification
from shared.evaluation.ranking import mrr
from shared.finetuning.backbone import HeadedModel
from shared.finetuning.examples import Example
from shared.finetuning.probe import encode
from shared.models.heads import FloatArray, HeadSpec, sigmoid, softmax

Tokenize = Callable[[Sequence[str]], dict[str, torch.Tensor]]
Pair = tuple[str, str, str]  # positive, hard negative or "", group
PAIRS = 1000  # of an embed head; every anchor is compared with every positive


def validate(
    model: HeadedModel, tokenize: Tokenize, rows: Sequence[Example], precision: str
) -> dict[str, float]:
    """Return {"score", "loss", HEAD: …}: by head macro F1 (classify), micro F1 at 0.5 (multilabel) or the
    mean reciprocal rank of the positive among all positives (embed), each 0 to 1; `score` is their mean
    and `loss` the mean negative log likelihood of the labels."""
    vectors = encode(model, tokenize, [row.text for row in rows], precision=precision)
    scores: dict[str, float] = {}
    losses = []
    for name, spec in model.specs.items():
        chosen = [i for i, row in enumerate(rows) if name in row.targets]
        if not chosen:
            continue
        targets = [rows[i].targets[name] for i in chosen]
        if spec.kind == "embed":
            scores[name] = pair_rank(
                vectors[chosen], targets, lambda texts: encode(model, tokenize, texts, precision=precision)
            )
        else:
            head = model.heads[name]
            with torch.inference_mode():
                at = next(head.parameters()).device
                logits = head(torch.from_numpy(vectors[chosen]).to(at)).float().cpu().numpy()
            score, loss = _labels(spec, logits, np.asarray(targets))
            scores[name] = score
            losses.append(loss)
    mean = float(np.mean(list(scores.values()))) if scores else 0.0
    return {"score": mean, "loss": float(np.mean(losses)) if losses else 0.0, **scores}


def _labels(spec: HeadSpec, logits: FloatArray, targets: FloatArray) -> tuple[float, float]:
    values = logits.astype(np.float64)
    if spec.kind == "multilabel":
        p = np.clip(sigmoid(values), 1e-9, 1 - 1e-9)
        loss = -np.mean(targets * np.log(p) + (1 - targets) * np.log(1 - p))
        return classification.micro_f1(targets > 0, p >= 0.5), float(loss)
    chosen = softmax(values)[np.arange(len(targets)), targets]
    said = [str(label) for label in values.argmax(1)]
    truth = [str(label) for label in targets]
    return classification.macro_f1(truth, said), float(-np.mean(np.log(chosen + 1e-12)))


def pair_rank(anchors: FloatArray, pairs: Sequence[Pair], embed: Callable[[list[str]], FloatArray]) -> float:
    """Return the mean reciprocal rank of each anchor's first right positive among the distinct ones, 0 to 1.

    Right are the positives of the anchor's own group. At most 1,000 pairs are looked at.
    """
    pairs = pairs[:PAIRS]
    groups: dict[str, set[str]] = {}
    for positive, _, group in pairs:
        groups.setdefault(group, set()).add(positive)
    positives = list(dict.fromkeys(positive for positive, _, _ in pairs))
    scores = anchors[:PAIRS] @ embed(positives).T  # (anchors, positives), cosine: both are unit length
    order = np.argsort(-scores, axis=1, kind="stable")
    return mrr([[positives[j] for j in row] for row in order], [groups[group] for _, _, group in pairs])
