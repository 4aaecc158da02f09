"""Heads fitted on the frozen backbone: the plain method, and where full tuning starts from.

Starting full tuning from the fitted heads keeps the pretrained features from being bent towards random
ones in the first steps (Kumar et al. 2022, Fine-Tuning can Distort Pretrained Features).
"""

import warnings
from collections import Counter
from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, RidgeCV

from shared.evaluation.classification import macro_f1
from shared.finetuning.backbone import HeadedModel
from shared.finetuning.examples import Example
from shared.finetuning.feeding import Feed
from shared.finetuning.progress import bar
from shared.models.batching import batches
from shared.models.heads import FloatArray, HeadSpec

FITTED = ("classify", "multilabel", "regress")
FROZEN = (*FITTED, "similarity", "embed")  # kinds that a base has without any training of its body
C = 30.0  # suits labels that are right: intents of customers
STRENGTHS = (0.3, 1.0, 3.0, 10.0, 30.0)  # that "auto" tries; noisy labels want a low one
LOOKED_AT = 4000  # rows, which is enough to tell such steps apart
MOST = 20_000  # rows that heads are fitted on where the body is tuned after them
EACH = 20  # rows of each label among them, where it has so many
ALPHAS = tuple(10 ** (power / 3) for power in range(-6, 7))  # .01 to 100


def encode(
    model: HeadedModel,
    feed: Feed,
    texts: Sequence[str],
    *,
    precision: str = "fp32",
) -> FloatArray:
    """Return unit vectors (n, width) float32 in the order of `texts`; equal texts are encoded once.

    `precision` "bf16" or "fp16" is near enough for a score or a start (cosine .9999), not for a final fit.
    """
    device = next(model.parameters()).device
    unique = list(dict.fromkeys(texts))
    found: dict[str, FloatArray] = {}
    training = model.training
    model.eval()
    half = torch.float16 if precision == "fp16" else torch.bfloat16
    with (
        torch.inference_mode(),
        torch.autocast(device.type, half, precision != "fp32"),
        bar("reading texts", len(unique)) as read,
    ):
        for batch in batches([len(text) for text in unique]):
            tensors = feed([unique[i] for i in batch]).tensors
            fed = {name: part.to(device) for name, part in tensors.items()}
            rows = model.vectors(**fed).float().cpu().numpy()
            found.update({unique[i]: row for i, row in zip(batch, rows, strict=True)})
            read(len(batch))
    model.train(training)
    return np.stack([found[text] for text in texts]) if texts else np.zeros((0, model.width), np.float32)


def start_rows(
    model: HeadedModel, examples: Sequence[Example], seed: int, most: int | None = None
) -> list[int]:
    """Return the positions, rising, of the rows that tell enough for a start: all up to `most` (MOST).

    Of more, so many drawn by `seed`, and of every label of classify and multilabel heads the first EACH.
    """
    most = most or MOST
    if len(examples) <= most:
        return list(range(len(examples)))
    order = np.random.default_rng(seed).permutation(len(examples)).tolist()
    chosen, met = set(order[:most]), Counter[tuple[str, int]]()
    for i in order:
        own = [(name, label) for name in model.specs for label in _labels_of(model.specs[name], examples[i])]
        if any(met[label] < EACH for label in own):
            chosen.add(i)
        met.update(own)
    return sorted(chosen)


def _labels_of(spec: HeadSpec, example: Example) -> list[int]:
    target = example.targets.get(spec.name)
    if target is None or spec.kind not in ("classify", "multilabel"):
        return []
    return [int(target)] if spec.kind == "classify" else np.flatnonzero(np.asarray(target)).tolist()


def fit_heads(
    model: HeadedModel,
    vectors: FloatArray,
    examples: Sequence[Example],
    *,
    c: float | Literal["auto"] = C,
    seed: int = 0,
) -> float:
    """Set every head that reads the vector to a linear one fitted on `vectors`; returns its `c`.

    A logistic regression (one per label for multilabel), for regress a ridge regression whose strength
    leave-one-out chooses. Heads that an earlier model left stay as they are. "auto" is `best_c`.
    """
    c = best_c(model, vectors, examples, seed) if c == "auto" else c
    for name, spec in model.specs.items():
        rows = [i for i, example in enumerate(examples) if name in example.targets]
        if spec.kind in FITTED and rows and name not in model.inherited:
            targets = np.asarray([examples[i].targets[name] for i in rows])
            weight, bias = _fitted(spec, vectors[rows], targets, c, seed)
            with torch.no_grad():
                model.heads[name].weight.copy_(torch.from_numpy(weight))  # type: ignore[operator]
                model.heads[name].bias.copy_(torch.from_numpy(bias))  # type: ignore[operator]
    return c


def best_c(model: HeadedModel, vectors: FloatArray, examples: Sequence[Example], seed: int) -> float:
    """Return the one of STRENGTHS whose logistic regressions have the best macro F1 in cross-validation, of
    equal ones the smallest.

    The mean over classify heads, three folds drawn by `seed`, on at most LOOKED_AT rows; C without such a
    head or with under 10 rows.
    """
    means = []
    for name, spec in model.specs.items():
        rows = [i for i, example in enumerate(examples) if name in example.targets]
        if spec.kind == "classify" and name not in model.inherited and len(rows) >= 10:
            chosen = np.random.default_rng(seed).permutation(rows)[:LOOKED_AT]
            means.append(
                _by_strength(vectors[chosen], np.asarray([examples[i].targets[name] for i in chosen]))
            )
    return STRENGTHS[int(np.argmax(np.mean(means, axis=0)))] if means else C


def _by_strength(vectors: FloatArray, targets: npt.NDArray[np.int64]) -> list[float]:
    said = np.full((len(STRENGTHS), len(targets)), -1)
    fold = np.arange(len(targets)) % 3
    for held in range(3):
        seen = targets[fold != held]
        if len(set(seen.tolist())) < 2:
            continue
        # From weak to strong, each from where the one before ended; what is not quite at its end ranks alike.
        fitted = LogisticRegression(max_iter=100, warm_start=True)
        for place, c in enumerate(STRENGTHS):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                fitted.set_params(C=c).fit(vectors[fold != held], seen)
            said[place, fold == held] = fitted.predict(vectors[fold == held])
    truth = [str(one) for one in targets]
    return [round(macro_f1(truth, [str(one) for one in row]), 6) for row in said]


def fit_similarities(
    model: HeadedModel, feed: Feed, rows: Sequence[Example], *, precision: str = "fp32"
) -> None:
    """Set the line of every similarity head to a logistic regression on the cosines of the base's vectors.

    Grades count as yes above .5. Heads that an earlier model left stay as they are, and so does one whose
    rows all say the same.
    """
    for name, spec in model.specs.items():
        own = [row for row in rows if name in row.targets]
        if spec.kind != "similarity" or name in model.inherited:
            continue
        yes = np.asarray([row.targets[name][1] > 0.5 for row in own])
        if len(set(yes.tolist())) < 2:
            continue
        texts = [row.text for row in own] + [str(row.targets[name][0]) for row in own]
        vectors = encode(model, feed, texts, precision=precision)
        cosines = (vectors[: len(own)] * vectors[len(own) :]).sum(1, keepdims=True)
        slope, bias = _binary(cosines, yes, C, 0)
        with torch.no_grad():
            model.heads[name].weight.fill_(float(slope[0]))  # type: ignore[operator]
            model.heads[name].bias.fill_(bias)  # type: ignore[operator]


def _fitted(
    spec: HeadSpec, vectors: FloatArray, targets: FloatArray, c: float, seed: int
) -> tuple[FloatArray, FloatArray]:
    if spec.kind == "regress":
        # What suits labels is far too weak for numbers, which would be learnt by heart.
        ridge = RidgeCV(alphas=ALPHAS).fit(vectors, targets)
        return ridge.coef_[None].astype(np.float32), np.array([ridge.intercept_], np.float32)
    if spec.kind == "multilabel":
        pairs = [_binary(vectors, targets[:, label], c, seed) for label in range(len(spec.labels))]
        return np.stack([w for w, _ in pairs]).astype(np.float32), np.array([b for _, b in pairs], np.float32)
    seen = np.unique(targets)
    if len(spec.labels) == 2:
        weight, bias = _binary(vectors, targets, c, seed)
        return np.stack([-weight / 2, weight / 2]).astype(np.float32), np.array(
            [-bias / 2, bias / 2], np.float32
        )
    model = LogisticRegression(C=c, max_iter=500, random_state=seed).fit(vectors, targets)
    weights = np.zeros((len(spec.labels), vectors.shape[1]), np.float32)
    biases = np.full(len(spec.labels), -10.0, np.float32)
    weights[seen], biases[seen] = model.coef_, model.intercept_
    return weights, biases


def _binary(vectors: FloatArray, targets: FloatArray, c: float, seed: int) -> tuple[FloatArray, float]:
    share = float(np.mean(targets))
    if share in (0.0, 1.0):  # no row, or every row: the share itself, away from infinity
        return np.zeros(vectors.shape[1], np.float32), 6.0 if share else -6.0
    model = LogisticRegression(C=c, max_iter=500, random_state=seed).fit(vectors, targets)
    return model.coef_[0].astype(np.float32), float(model.intercept_[0])
