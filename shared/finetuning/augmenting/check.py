"""Whether a copy keeps the label of its row: judged by models that never saw the row."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression

from shared.finetuning.label_noise import FOLDS, dealt
from shared.models.heads import FloatArray

C = 30.0  # as the heads that are fitted on frozen vectors
Mask = npt.NDArray[np.bool_]


def keeps_label(
    vectors: FloatArray,
    labels: npt.NDArray[np.int64],
    texts: Sequence[str],
    copies: FloatArray,
    origin: npt.NDArray[np.int64],
    *,
    seed: int = 0,
) -> Mask:
    """Return (m,) whether a logistic regression that did not see row `origin[j]` gives copy j its label.

    `vectors` (n, dim), `labels` and `texts` are of the rows, `copies` (m, dim) of the copies. Equal texts
    share a fold. A label that no other row has can't be given, so its copies fail; where the other rows have
    one label alone, that is what is given.
    """
    fold, found = dealt(labels, texts, FOLDS, seed), np.zeros(len(copies), bool)
    for held in range(FOLDS):
        own, rest = np.flatnonzero(fold[origin] == held), np.flatnonzero(fold != held)
        if not len(own) or not len(rest):
            continue
        if len(np.unique(labels[rest])) == 1:
            said = np.full(len(own), labels[rest][0])
        else:
            model = LogisticRegression(C=C, max_iter=300, random_state=seed).fit(vectors[rest], labels[rest])
            said = model.predict(copies[own])
        found[own] = said == labels[origin[own]]
    return found


def near(vectors: FloatArray, copies: FloatArray, origin: npt.NDArray[np.int64], least: float) -> Mask:
    """Return (m,) whether the cosine of a copy and its row is at least `least`; all are unit vectors."""
    found: Mask = (vectors[origin] * copies).sum(-1) >= least
    return found
