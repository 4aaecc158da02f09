"""How much a figure drops when texts are written less carefully: typos, case, punctuation, lost words."""

import random
import string
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from shared.evaluation.resampling import interval
from shared.text.words import Word, words

SHARE = 0.1  # of the words of a text, at least one
_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_NEAR = {key: row[max(0, i - 1) : i] + row[i + 1 : i + 2] for row in _ROWS for i, key in enumerate(row)}


class Drop(NamedTuple):
    """The figure on changed texts, how far it fell (with a 95 % interval), and the share of texts changed."""

    change: str
    value: float
    drop: float
    low: float
    high: float
    changed: float


def drops(
    metric: Callable[..., float],
    predict: Callable[[list[str]], Sequence[Any]],
    texts: Sequence[str],
    truth: Sequence[Any],
    *,
    rewritten: Mapping[str, Sequence[str]] | None = None,
    seed: int = 0,
    draws: int = 1000,
) -> list[Drop]:
    """Return one drop per change, those of `CHANGES` first, then those of `rewritten`.

    `predict` answers a list of texts; `metric(truth, predicted)` is higher for better. `rewritten` maps a
    name ("paraphrase") to texts in the order of `texts`, an empty one meaning that there is none: such rows
    are left out. Rows are drawn in pairs, so that what is hard anyway does not widen the interval.
    """
    before = np.asarray(predict(list(texts)))
    changed = {name: perturbed(texts, name, seed=seed) for name in CHANGES}
    found = []
    for name, new in {**changed, **(rewritten or {})}.items():
        rows = [i for i, text in enumerate(new) if text.strip()]
        after = np.asarray(predict([new[i] for i in rows]))
        real = np.asarray(truth)[rows]
        drop = interval(
            lambda r, b, a: metric(r, b) - metric(r, a), real, before[rows], after, seed=seed, draws=draws
        )
        share = float(np.mean([new[i] != texts[i] for i in rows])) if rows else 0.0
        found.append(Drop(name, float(metric(real, after)), *drop, share))
    return found


def perturbed(texts: Sequence[str], change: str, *, seed: int = 0) -> list[str]:
    """Return the texts with the change of that name in `CHANGES`; the same seed gives the same texts.

    Each text has a seed of its own, so its form does not depend on the others. A text that would become
    empty stays as it is.
    """
    made = (CHANGES[change](text, random.Random(f"{seed} {text}")) for text in texts)  # noqa: S311 - no secret
    return [new if new.strip() else text for new, text in zip(made, texts, strict=True)]


def _typos(text: str, rng: random.Random) -> str:
    return _edited(text, rng, lambda word: len(word.text) >= 4 or ord(word.text[0]) > 0x2E7F, misspelt)


def misspelt(word: str, rng: random.Random) -> str:
    """Return the word with one slip of the fingers after its first letter: two letters in each other's place,
    one left out, doubled, or its neighbour on the keyboard."""
    if len(word) < 2:  # a Han or kana sign: left out
        return ""
    at, kind = rng.randrange(1, len(word)), rng.randrange(4)
    if kind == 0:
        return word[: at - 1] + word[at] + word[at - 1] + word[at + 1 :]
    if kind == 1:
        return word[:at] + word[at + 1 :]
    if kind == 2:
        return word[:at] + word[at] + word[at:]
    near = _NEAR.get(word[at].lower(), "")
    return word[:at] + (rng.choice(near) if near else word[at] * 2) + word[at + 1 :]


def _dropped_words(text: str, rng: random.Random) -> str:
    return " ".join(_edited(text, rng, lambda _: True, lambda word, _: "").split())


def _edited(
    text: str,
    rng: random.Random,
    may: Callable[[Word], bool],
    edit: Callable[[str, random.Random], str],
) -> str:
    places = [word for word in words(text) if may(word)]
    chosen = rng.sample(places, min(len(places), max(1, round(SHARE * len(places)))))
    for word in sorted(chosen, key=lambda one: -one.start):  # from the end: earlier offsets stay right
        text = text[: word.start] + edit(word.text, rng) + text[word.end :]
    return text


def _without_punctuation(text: str, _: random.Random) -> str:
    marks = (
        c if c not in string.punctuation and not unicodedata.category(c).startswith("P") else " "
        for c in text
    )
    return " ".join("".join(marks).split())


CHANGES: dict[str, Callable[[str, random.Random], str]] = {
    "typos": _typos,
    "lower_case": lambda text, _: text.lower(),
    "upper_case": lambda text, _: text.upper(),
    "no_punctuation": _without_punctuation,
    "dropped_words": _dropped_words,
}
