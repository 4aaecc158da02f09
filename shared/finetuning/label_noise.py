"""Rows whose label is probably wrong: confident learning (Northcutt, Jiang and Chuang 2021).

Every row is judged by a model that never saw it (cross-validated logistic regression on frozen vectors). A
label is believed where its probability reaches the mean that rows of that label have; a row is suspect when
another label than its own is believed.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from shared.errors import BadInput
from shared.models.heads import FloatArray

FOLDS = 5
Array = npt.NDArray[np.float64]


class Suspect(NamedTuple):
    """Row `row` has the label `given` (probability `believed` in it) and looks like `suggested`."""

    row: int
    given: str
    suggested: str
    believed: float
    instead: float


class Report(NamedTuple):
    """The suspects, most likely wrong first; the share of rows that is; the rows that could not be judged,
    because their label has a single text."""

    suspects: list[Suspect]
    share: float
    unjudged: list[int]


def suspects(
    vectors: FloatArray,
    labels: Sequence[str],
    texts: Sequence[str],
    *,
    folds: int = FOLDS,
    c: float = 3.0,
    seed: int = 0,
) -> Report:
    """Return the rows that are probably mislabelled, of `vectors` (n, dim), their labels and texts.

    Equal texts share a fold: a twin with the wrong label would vouch for it. Order: by how much more the
    suggested label is believed than the given one; equal ones by row. Raises BadInput for fewer than two
    labels of two texts.
    """
    names = np.asarray(labels)
    of_label: dict[str, set[str]] = {}
    for label, text in zip(labels, texts, strict=True):
        of_label.setdefault(label, set()).add(text)
    judged = np.flatnonzero([len(of_label[label]) >= 2 for label in labels])
    known, codes = np.unique(names[judged], return_inverse=True)
    if len(known) < 2:
        raise BadInput("label noise is looked for between two labels of two texts each; give more rows")
    shares = out_of_fold(
        vectors[judged], codes, [texts[i] for i in judged.tolist()], folds=folds, c=c, seed=seed
    )
    found = [
        Suspect(
            int(judged[row]),
            str(known[codes[row]]),
            str(known[other]),
            round(float(shares[row, codes[row]]), 4),
            round(float(shares[row, other]), 4),
        )
        for row, other in confident_errors(shares, codes)
    ]
    found.sort(key=lambda one: (one.believed - one.instead, one.row))
    alone = sorted(set(range(len(labels))) - set(judged.tolist()))
    return Report(found, len(found) / len(judged), alone)


def confident_errors(shares: Array | FloatArray, labels: npt.NDArray[np.int64]) -> list[tuple[int, int]]:
    """Return (row, label it looks like) for the off-diagonal cells of the confident joint, by row.

    `shares` (n, labels) are probabilities of models that did not see the row. A label that no row has is
    never believed.
    """
    cuts = np.asarray(
        [shares[labels == j, j].mean() if (labels == j).any() else np.inf for j in range(shares.shape[1])]
    )
    believed = np.where(shares >= cuts, shares, -1.0)
    best = believed.argmax(1)
    rows = np.flatnonzero((believed.max(1) >= 0) & (best != labels))
    return [(int(row), int(best[row])) for row in rows]


def out_of_fold(
    vectors: FloatArray,
    labels: npt.NDArray[np.int64],
    texts: Sequence[str],
    *,
    folds: int = FOLDS,
    c: float = 3.0,
    seed: int = 0,
) -> Array:
    """Return (n, labels) the probabilities of each row by a logistic regression fitted on the other folds."""
    from sklearn.linear_model import LogisticRegression

    fold = dealt(labels, texts, folds, seed)
    shares = np.zeros((len(labels), int(labels.max()) + 1))
    for held in range(folds):
        own, rest = np.flatnonzero(fold == held), np.flatnonzero(fold != held)
        if not len(own):
            continue
        seen = np.unique(labels[rest])
        if len(seen) < 2:
            shares[np.ix_(own, seen)] = 1.0
            continue
        model = LogisticRegression(C=c, max_iter=300, random_state=seed).fit(vectors[rest], labels[rest])
        shares[np.ix_(own, seen)] = model.predict_proba(vectors[own])
    return shares


def dealt(
    labels: npt.NDArray[np.int64], texts: Sequence[str], folds: int, seed: int
) -> npt.NDArray[np.int64]:
    """Return (n,) the fold of each row: every fold has its share of each label, and a text has only one."""
    order = np.random.default_rng(seed).permutation(len(labels))
    of_text: dict[str, int] = {}
    for row in sorted(order, key=lambda i: labels[i]):  # like cards, label by label
        of_text.setdefault(texts[row], len(of_text) % folds)
    return np.asarray([of_text[text] for text in texts])
