"""Words swapped, left out or misspelt: the copies that need no data (Wei and Zou 2019, EDA)."""

import random
from collections.abc import Callable

from shared.evaluation.robustness import misspelt
from shared.text.words import Word, words


def changed(text: str, probability: float, seed: str) -> str | None:
    """Return the text with the share `probability` of its words changed, at least one, in one way.

    The way is drawn: two words change places, words are left out, or words are misspelt. `seed` and the
    text give the same copy again. None where nothing can change (a single short word).
    """
    rng = random.Random(f"{seed} {text}")  # noqa: S311 - no secret
    found = words(text)
    ways: list[Callable[[str, list[Word], int, random.Random], str]] = [_misspelt]
    if len(found) > 1:
        ways += [_swapped, _dropped]
    new = rng.choice(ways)(text, found, max(1, round(probability * len(found))), rng)
    return new if new.strip() and new != text else None


def _swapped(text: str, found: list[Word], count: int, rng: random.Random) -> str:
    order = [word.text for word in found]
    for _ in range(count):
        one, other = rng.sample(range(len(order)), 2)
        order[one], order[other] = order[other], order[one]
    return replaced(text, found, order)


def _dropped(text: str, found: list[Word], count: int, rng: random.Random) -> str:
    gone = set(rng.sample(range(len(found)), min(count, len(found) - 1)))
    kept = ["" if i in gone else word.text for i, word in enumerate(found)]
    return " ".join(replaced(text, found, kept).split())


def _misspelt(text: str, found: list[Word], count: int, rng: random.Random) -> str:
    long = [i for i, word in enumerate(found) if len(word.text) >= 4]
    chosen = set(rng.sample(long, min(count, len(long))))
    return replaced(
        text, found, [misspelt(word.text, rng) if i in chosen else word.text for i, word in enumerate(found)]
    )


def replaced(text: str, found: list[Word], new: list[str]) -> str:
    """Return the text with each found word replaced by the new one at its place; what is between stays."""
    for word, value in zip(reversed(found), reversed(new), strict=True):  # from the end: offsets stay right
        text = text[: word.start] + value + text[word.end :]
    return text
