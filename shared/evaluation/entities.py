"""Figures of marked spans: a span counts when start, end and label are all right (as conlleval counts)."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]


class Span(NamedTuple):
    """Positions `start` to `end` (exclusive), of tokens or of characters."""

    start: int
    end: int
    label: str


class LabelScore(NamedTuple):
    """One label's figures, 0 to 1; `support` is how many spans of it the truth has."""

    precision: float
    recall: float
    f1: float
    support: int


def span_counts(truth: Sequence[Iterable[Span]], predicted: Sequence[Iterable[Span]]) -> Counts:
    """Return (rows, 3): for each text the spans that are right, that were said, and that there are."""
    rows = []
    for real, said in zip(truth, predicted, strict=True):
        one, other = set(real), set(said)
        rows.append((len(one & other), len(other), len(one)))
    return np.asarray(rows, np.int64).reshape(-1, 3)


def f1_of(counts: Counts) -> float:
    """Return 2 x right / (said + there) over all rows, 0 to 1; NaN where nothing is said or there.

    It takes `span_counts`, so that an interval draws whole texts.
    """
    right, said, there = counts.sum(0) if len(counts) else (0, 0, 0)
    return float(2 * right / (said + there)) if said + there else float("nan")


def entity_f1(truth: Sequence[Iterable[Span]], predicted: Sequence[Iterable[Span]]) -> float:
    """Return the F1 of all spans together, 0 to 1; NaN where nothing is said or there."""
    return f1_of(span_counts(truth, predicted))


def entity_report(
    truth: Sequence[Iterable[Span]], predicted: Sequence[Iterable[Span]]
) -> dict[str, LabelScore]:
    """Return the figures of each label that either side has, by name.

    Precision of a label that is never said, and recall of one that is never there, are 0.
    """
    real = {(row, *span) for row, spans in enumerate(truth) for span in spans}
    said = {(row, *span) for row, spans in enumerate(predicted) for span in spans}
    report = {}
    for label in sorted({key[-1] for key in real | said}):
        own, marked = ({key for key in keys if key[-1] == label} for keys in (real, said))
        right = len(own & marked)
        report[label] = LabelScore(
            right / len(marked) if marked else 0.0,
            right / len(own) if own else 0.0,
            2 * right / (len(own) + len(marked)),
            len(own),
        )
    return report
