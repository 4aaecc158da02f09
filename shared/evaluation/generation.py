"""Figures of written replies: overlap with a reference, and perplexity."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from shared.text.words import words

PerRow = npt.NDArray[np.float64]


def rouge_l(reference: str, said: str) -> float:
    """Return the F1 of the longest common subsequence of words, 0 to 1, case ignored (Lin 2004, beta 1).

    A Han or kana sign counts as a word; punctuation is no word. Two texts without words agree (1.0),
    one without agrees with nothing (0.0).
    """
    wanted = [word.text.casefold() for word in words(reference)]
    got = [word.text.casefold() for word in words(said)]
    if not wanted or not got:
        return float(not wanted and not got)
    return 2 * common_length(wanted, got) / (len(wanted) + len(got))


def rouge_l_each(references: Sequence[str], said: Sequence[str]) -> PerRow:
    """Return `rouge_l` of each pair; both have the same length and order."""
    return np.asarray([rouge_l(*pair) for pair in zip(references, said, strict=True)], np.float64)


def common_length(one: Sequence[str], other: Sequence[str]) -> int:
    """Return the length of the longest common subsequence, bit-parallel (Hyyrö 2004): linear in `other`
    for texts of some thousand words."""
    places: dict[str, int] = {}
    for place, item in enumerate(one):
        places[item] = places.get(item, 0) | 1 << place
    every = (1 << len(one)) - 1
    unmatched = every
    for item in other:
        hit = unmatched & places.get(item, 0)
        unmatched = ((unmatched + hit) | (unmatched - hit)) & every
    return len(one) - unmatched.bit_count()


def perplexity(losses: PerRow, tokens: PerRow) -> float:
    """Return exp of the mean loss of a token; `losses` are summed nats by row, `tokens` their counts.

    NaN without tokens. A long reply weighs more than a short one.
    """
    count = float(np.sum(tokens))
    return math.exp(float(np.sum(losses)) / count) if count else math.nan
