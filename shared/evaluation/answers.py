"""Figures of quoted answers against the right ones."""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from shared.text.words import SIGNS

_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_TOKEN = re.compile(rf"[{SIGNS}]|[^\s{SIGNS}]+")


def exact(truth: str, predicted: str) -> float:
    """Return 1 when both are the same but for case, punctuation, articles and blanks, else 0 (SQuAD)."""
    return float(_tokens(truth) == _tokens(predicted))


def token_f1(truth: str, predicted: str) -> float:
    """Return the F1 of the tokens that both have, 0 to 1 (SQuAD, Rajpurkar et al. 2016).

    A Han or kana sign is a token of its own. With an empty side it is 1 when both are empty, else 0.
    """
    real, said = _tokens(truth), _tokens(predicted)
    if not real or not said:
        return float(real == said)
    same = sum((Counter(real) & Counter(said)).values())
    return 2 * same / (len(real) + len(said))


def each(
    metric: Callable[[str, str], float], truths: Sequence[str | Sequence[str]], predicted: Sequence[str]
) -> npt.NDArray[np.float64]:
    """Return (n,) the metric of every row, the best over its right answers where it has several.

    A row without any right answer is one that must be answered by an empty text.
    """
    found = []
    for truth, said in zip(truths, predicted, strict=True):
        right = [truth] if isinstance(truth, str) else list(truth) or [""]
        found.append(max(metric(one, said) for one in right))
    return np.asarray(found, np.float64)


def _tokens(text: str) -> list[str]:
    folded = unicodedata.normalize("NFKC", text).lower()
    plain = "".join(c for c in folded if not unicodedata.category(c).startswith(("P", "S")))
    return _TOKEN.findall(_ARTICLES.sub(" ", plain))
