"""Which rows to label next: the doubtful, the different, or those that a committee quarrels about."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from shared.errors import BadInput
from shared.models.heads import FloatArray

Kind = Literal["classify", "multilabel"]
Array = npt.NDArray[np.float64]
Order = npt.NDArray[np.int64]
MEMBERS = 7
_TINY = 1e-12


def uncertainty(probabilities: FloatArray, kind: Kind) -> Array:
    """Return (n,) the doubt of each row, 0 to 1, of `probabilities` (n, labels).

    classify: 1 - (best - second best), the smallest margin (Scheffer et al. 2001): with many labels it asks
    for what is between two, where entropy asks for what is nowhere. multilabel: how near the nearest label
    is to 0.5.
    """
    values = np.asarray(probabilities, np.float64)
    if kind == "multilabel":
        doubt: Array = 1 - 2 * np.abs(values - 0.5).min(1) if values.size else np.zeros(len(values))
        return doubt
    if values.shape[1] < 2:
        return np.zeros(len(values))
    top = np.partition(values, -2, axis=1)[:, -2:]
    margins: Array = 1 - (top[:, 1] - top[:, 0])
    return margins


def disagreement(members: Sequence[FloatArray], kind: Kind) -> Array:
    """Return (n,) how far the members' `probabilities` (n, labels) differ, 0 or more (in nats).

    The entropy of their mean less their mean entropy (Houlsby et al. 2011): 0 when all say the same, however
    doubtful. multilabel takes the mean over labels. Raises BadInput for fewer than two members.
    """
    if len(members) < 2:
        raise BadInput(f"a committee needs two members, there are {len(members)}")
    stack = np.asarray(members, np.float64)  # (members, rows, labels)
    found: Array = _entropy(stack.mean(0), kind) - _entropy(stack, kind).mean(0)
    return np.maximum(found, 0.0)


def k_centre(
    vectors: FloatArray, count: int, *, weights: Array | None = None, known: FloatArray | None = None
) -> Order:
    """Return `count` positions, best first: each the farthest from all before, times its weight.

    Greedy k-centre (Sener and Savarese 2018) over unit vectors (n, dim), distance 1 - cosine. `known` are
    vectors of rows that have a label already; without them the first is the one of the largest weight.
    `weights` (n,) are 0 or more, by default 1. Equal ones go by position.
    """
    rows = np.asarray(vectors, np.float32)
    weighed = np.ones(len(rows)) if weights is None else np.asarray(weights, np.float64)
    far = np.full(len(rows), 2.0) if known is None or not len(known) else _distance(rows, known)
    chosen: list[int] = []
    for _ in range(min(count, len(rows))):
        gain = weighed * far
        gain[chosen] = -1.0
        best = int(gain.argmax())
        chosen.append(best)
        far = np.minimum(far, _distance(rows, rows[best : best + 1]))
    return np.asarray(chosen, np.int64)


def committee(
    vectors: FloatArray,
    labels: Sequence[int],
    unseen: FloatArray,
    classes: int,
    *,
    members: int = MEMBERS,
    c: float = 30.0,
    seed: int = 0,
) -> list[FloatArray]:
    """Return each member's probabilities (n, classes) of `unseen` (n, dim).

    A member is a logistic regression on a bootstrap resample of the labelled `vectors` (m, dim), drawn within
    each label, so that none is lost. `labels` are positions; a label without a row has probability 0.
    """
    from sklearn.linear_model import LogisticRegression

    truth, rng = np.asarray(labels, int), np.random.default_rng(seed)
    seen = np.unique(truth)
    if len(seen) < 2:
        raise BadInput("a committee needs labelled rows of two labels; give more training rows")
    found = []
    for _ in range(members):
        picks = [rng.choice(own, len(own)) for own in (np.flatnonzero(truth == one) for one in seen)]
        rows = np.concatenate(picks)
        model = LogisticRegression(C=c, max_iter=300, random_state=seed).fit(vectors[rows], truth[rows])
        told = np.zeros((len(unseen), classes), np.float32)
        told[:, seen] = model.predict_proba(unseen)
        found.append(told)
    return found


def _entropy(shares: Array, kind: Kind) -> Array:
    own: Array = -shares * np.log(shares + _TINY)
    if kind == "classify":
        summed: Array = own.sum(-1)
        return summed
    both: Array = (own - (1 - shares) * np.log(1 - shares + _TINY)).mean(-1)
    return both


def _distance(rows: FloatArray, others: FloatArray) -> Array:
    nearest = np.full(len(rows), -1.0)
    for at in range(0, len(others), 1000):  # memory: rows x 1,000 numbers
        nearest = np.maximum(nearest, (rows @ others[at : at + 1000].T).max(1))
    return 1 - nearest
