"""From numbers per token to words, entities and answers, as characters of the text."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from shared.models.heads import OUTSIDE, FloatArray

Offsets = Sequence[tuple[int, int]]  # characters start to end of each token; (0, 0) where it stands for none
IMPOSSIBLE = -1e9


class Entity(NamedTuple):
    """Characters `start` to `end` of the text, and what they are."""

    start: int
    end: int
    label: str


class Answer(NamedTuple):
    """Characters `start` to `end` of the passage (0 to 0 where it holds no answer) and a score in 0..1."""

    start: int
    end: int
    score: float


def tokens_of(offsets: Offsets, start: int, end: int) -> list[int]:
    """Return the positions of the tokens that share a character with `start` to `end`, in order; none
    where the text was cut before."""
    return [i for i, (left, right) in enumerate(offsets) if left < end and right > start and right > left]


def first_tokens(offsets: Offsets, words: Sequence[tuple[int, int]]) -> list[int | None]:
    """Return for each word (start, end), in order of place, its first token, or None where it was cut off.

    A word of several pieces is told by its first, in training and in serving alike.
    """
    found: list[int | None] = []
    at = 0
    for start, end in words:
        while at < len(offsets) and (offsets[at][1] <= start or offsets[at][0] == offsets[at][1]):
            at += 1
        found.append(at if at < len(offsets) and offsets[at][0] < end else None)
    return found


def best_tags(scores: FloatArray, labels: Sequence[str]) -> list[str]:
    """Return the most probable sequence of tags (words, labels) in which every I- follows a B- or I- of its
    kind: Viterbi over scores that are added up. Of equal ones the label that stands first wins."""
    if not len(scores):
        return []
    allowed = _transitions(tuple(labels))
    best = scores[0] + np.where([label.startswith("I-") for label in labels], IMPOSSIBLE, 0.0)
    back = []
    for row in scores[1:]:
        paths = best[:, None] + allowed
        back.append(paths.argmax(0))
        best = paths.max(0) + row
    at = int(best.argmax())
    path = [at]
    for step in reversed(back):
        at = int(step[at])
        path.append(at)
    return [labels[i] for i in reversed(path)]


def _transitions(labels: tuple[str, ...]) -> FloatArray:
    table = np.zeros((len(labels), len(labels)), np.float32)
    for j, after in enumerate(labels):
        if after.startswith("I-"):
            fits = [before[:2] in ("B-", "I-") and before[2:] == after[2:] for before in labels]
            table[:, j] = np.where(fits, 0.0, IMPOSSIBLE)
    return table


def entities(words: Sequence[tuple[int, int]], tags: Sequence[str]) -> list[Entity]:
    """Join BIO tags of words (start, end) to entities, in order. An I- without its B- begins one."""
    found: list[Entity] = []
    open_at: Entity | None = None
    for (start, end), tag in zip(words, tags, strict=True):
        kind = tag[2:] if tag != OUTSIDE else ""
        if open_at is not None and tag.startswith("I-") and open_at.label == kind:
            open_at = open_at._replace(end=end)
            continue
        if open_at is not None:
            found.append(open_at)
        open_at = Entity(start, end, kind) if kind else None
    return [*found, open_at] if open_at is not None else found


def pooled(rows: FloatArray, offsets: Offsets, start: int, end: int) -> FloatArray | None:
    """Return the mean (labels,) of the token rows (tokens, labels) of a span; None where it was cut off."""
    at = tokens_of(offsets, start, end)
    mean: FloatArray | None = rows[at].mean(0) if at else None
    return mean


def best_answer(
    windows: Sequence[tuple[FloatArray, Offsets]], *, no_answer: bool, longest: int = 40
) -> Answer:
    """Return the best span over the windows of one passage.

    A window is its (tokens, 2) start and end scores and the offsets of its tokens in the passage, (0, 0)
    for tokens of the question and marks. The start is not after the end, at most `longest` tokens apart.
    The score is the span's probability among all spans of its window, where the first token's own start
    and end stand for "none in this window". With `no_answer` that may win, else the best span does.
    """
    best, empty = Answer(0, 0, 0.0), 0.0
    for scores, offsets in windows:
        inside = np.asarray([right > left for left, right in offsets])
        if not inside.any():
            continue
        inside[0] = True
        start = _shares(scores[: len(offsets), 0], inside)
        end = _shares(scores[: len(offsets), 1], inside)
        table = np.triu(np.outer(start, end)) - np.triu(np.outer(start, end), longest)
        none = float(table[0, 0]) if no_answer else 0.0
        table[0, :] = 0.0
        i, j = divmod(int(table.argmax()), len(offsets))
        if table[i, j] > max(none, best.score):
            best = Answer(offsets[i][0], offsets[j][1], float(table[i, j]))
        empty = max(empty, none)
    return best if best.score > 0 else Answer(0, 0, empty)


def _shares(scores: FloatArray, inside: np.ndarray) -> FloatArray:
    masked = np.where(inside, scores.astype(np.float64), IMPOSSIBLE)
    powers = np.exp(masked - masked.max())
    shares: FloatArray = powers / powers.sum()
    return shares
