"""Fit the refusal of out-of-scope texts on vectors and logits of the serving engine."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shared.errors import BadInput
from shared.models.heads import FloatArray, HeadSpec
from shared.models.out_of_scope import (
    CLIP,
    FEATURES,
    FOREIGN,
    Array,
    OutOfScope,
    Places,
    features,
    own_nearness,
)

ROWS = 20_000  # training vectors kept: 15 MB at width 384; more change nothing that was measured
MIN_VALID = 20
# Without foreign rows. On intents and domains held out of public training rows, under frozen and tuned
# vectors, these say less; lighter still, groups of unknown intents are found better and single ones worse.
LIGHTER = {"energy": 0.5, "rivals": 0.5, "mahalanobis": 0.5}
MIN_FOREIGN = 10  # below that weights of their own are noise


@dataclass(frozen=True)
class Encoded:
    """What the model says of n texts: unit `vectors` (n, dim) and raw `logits` (n, labels)."""

    vectors: FloatArray
    logits: FloatArray


def fit(
    spec: HeadSpec,
    train: FloatArray,
    labels: Sequence[int],
    valid: Encoded,
    truth: Sequence[int],
    *,
    foreign: Encoded | None = None,
    keep: float = 0.94,
    seed: int = 0,
) -> tuple[OutOfScope, Places]:
    """Return the refusal of head `spec` and what it compares with.

    `train` (n, dim) are unit vectors of training rows, `labels` their label positions; `valid` and `truth`
    the same of in-scope validation rows, which set scales and threshold; nothing else does. `foreign` are
    training rows known to be out of scope: with 10 or more the weights are fitted on them, else they are 1 or
    as in LIGHTER.

    The threshold: in-scope accuracy on the validation rows (right and not refused) is `keep`. Where the
    model is not that accurate without refusing, it keeps the share `keep` of its right answers instead.
    Raises BadInput for under 20 validation rows, a label without a training row, or a wrong `keep`.
    """
    if not 0 < keep <= 1:
        raise BadInput(f"keep is {keep}; give the in-scope accuracy to keep, above 0 and up to 1")
    if len(truth) < MIN_VALID:
        raise BadInput(
            f"a threshold for out-of-scope needs {MIN_VALID} in-scope validation rows, there are {len(truth)}"
        )
    known = foreign if foreign is not None and len(foreign.vectors) >= MIN_FOREIGN else None
    places = _places(spec, train, np.asarray(labels, int), known, seed)
    inside = features(places, valid.vectors, valid.logits / spec.temperature)
    means, spreads = inside.mean(0), np.maximum(inside.std(0), 1e-6)
    names = [*FEATURES, *([FOREIGN] if known is not None else [])]
    weights = np.asarray([LIGHTER.get(name, 1.0) for name in names])
    if known is not None:
        outside = features(places, known.vectors, known.logits / spec.temperature, itself=True)
        weights = _weights(*(np.clip((part - means) / spreads, -CLIP, CLIP) for part in (inside, outside)))
    model = OutOfScope(
        head=spec.name,
        threshold=0.0,
        temperature=spec.temperature,
        means=means.tolist(),
        spreads=spreads.tolist(),
        weights=weights.tolist(),
        features=names,
        keep=keep,
        kept=0.0,
    )
    scores, right = model.combined(inside), valid.logits.argmax(1) == np.asarray(truth)
    cut = threshold(scores, right, keep)
    kept = float(np.mean(right & (scores <= cut)))
    return model.model_copy(update={"threshold": cut, "kept": round(kept, 4)}), places


def threshold(scores: Array, right: npt.NDArray[np.bool_], keep: float) -> float:
    """Return the lowest threshold at which in-scope accuracy is `keep`, or `keep` of what there is without.

    `scores` and `right` (n,) are of in-scope validation rows. Without a right row nothing is refused.
    """
    answered = np.sort(scores[right])
    if not len(answered):
        return float(scores.max())
    closed = len(answered) / len(scores)
    wanted = keep * len(scores) if closed >= keep else keep * len(answered)
    return float(answered[int(np.ceil(wanted - 1e-9)) - 1])


def _places(
    spec: HeadSpec, train: FloatArray, labels: npt.NDArray[np.int64], foreign: Encoded | None, seed: int
) -> Places:
    counts = np.bincount(labels, minlength=len(spec.labels))
    if (counts == 0).any():
        empty = spec.labels[int(counts.argmin())]
        raise BadInput(f"label {empty!r} has no training row; out-of-scope can't tell where it lies")
    means = np.stack([train[labels == one].mean(0) for one in range(len(spec.labels))])
    kept = _sample(labels, seed)
    order = kept[np.argsort(labels[kept], kind="stable")]
    rows = _as_stored(train[order])
    return Places(
        rows=rows,
        starts=np.searchsorted(labels[order], np.arange(len(spec.labels))),
        means=means.astype(np.float32),
        whitening=_whitening(train - means[labels]),
        middle=train.mean(0).astype(np.float32),
        background=_whitening(train - train.mean(0)),
        own=own_nearness(rows),
        foreign=_as_stored(foreign.vectors if foreign is not None else np.zeros((0, train.shape[1]))),
    )


def _as_stored(rows: npt.NDArray[np.floating]) -> FloatArray:
    # At half precision, so that what is fitted is what a loaded model computes.
    return rows.astype(np.float16).astype(np.float32)


def _whitening(residuals: FloatArray) -> FloatArray:
    # Shrunk as Ledoit and Wolf (2004) say: a few rows a class don't fill 384 dimensions.
    from sklearn.covariance import LedoitWolf

    shrunk = LedoitWolf(assume_centered=True).fit(residuals.astype(np.float64)).covariance_
    level = max(float(np.trace(shrunk)) / len(shrunk), 1e-9)
    precision = np.linalg.inv(shrunk + 1e-6 * level * np.eye(len(shrunk)))
    return np.asarray(np.linalg.cholesky(precision), np.float32)


def _sample(labels: npt.NDArray[np.int64], seed: int) -> npt.NDArray[np.int64]:
    if len(labels) <= ROWS:
        return np.arange(len(labels))
    rng, share = np.random.default_rng(seed), ROWS / len(labels)
    rows = [np.flatnonzero(labels == one) for one in np.unique(labels)]
    return np.concatenate([rng.choice(own, max(1, int(len(own) * share)), replace=False) for own in rows])


def _weights(inside: Array, outside: Array) -> Array:
    from sklearn.linear_model import LogisticRegression

    # A strong penalty: it keeps the weights near equal ones, which do well without any foreign row.
    rows, truth = np.concatenate([inside, outside]), [0] * len(inside) + [1] * len(outside)
    model = LogisticRegression(C=30 / len(rows), class_weight="balanced").fit(rows, truth)
    weights: Array = model.coef_[0]
    return weights
