"""Numbers and names of a text changed for those of other rows of the same labels."""

import random
import re
from collections.abc import Hashable, Sequence
from typing import NamedTuple

from shared.text.words import words

_NUMBER = re.compile(r"(?<!\w)\d+(?:[.,:/-]\d+)*%?(?!\w)")


class Slot(NamedTuple):
    """Characters `start` to `end` of a text that hold a value of this kind."""

    kind: str
    start: int
    end: int


def slots(text: str) -> list[Slot]:
    """Return the numbers of a text and its names, in order: runs of capitalised words that begin no sentence.

    A text written in capitals throughout, and scripts without capitals, have no names.
    """
    found = [Slot("number", *match.span()) for match in _NUMBER.finditer(text)]
    taken = [(slot.start, slot.end) for slot in found]
    if text.upper() != text:
        found += [
            Slot("name", start, end)
            for start, end in _names(text)
            if all(end <= left or start >= right for left, right in taken)
        ]
    return sorted(found, key=lambda slot: slot.start)


def _names(text: str) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    begins = True  # whether a sentence does
    at = 0
    for word in words(text):
        between = text[at : word.start]
        begins = begins or any(mark in between for mark in ".!?:\n")
        if word.text[0].isupper() and len(word.text) > 1 and not begins:
            if found and found[-1][1] == at and between == " ":
                found[-1] = (found[-1][0], word.end)
            else:
                found.append((word.start, word.end))
        begins, at = False, word.end
    return found


class Templates:
    """The values of the slots of all texts, by group (the labels of a row) and kind."""

    def __init__(self, texts: Sequence[str], groups: Sequence[Hashable]) -> None:
        values: dict[tuple[Hashable, str], dict[str, None]] = {}
        for text, group in zip(texts, groups, strict=True):
            for slot in slots(text):
                values.setdefault((group, slot.kind), {})[text[slot.start : slot.end]] = None
        self._values = {key: list(own) for key, own in values.items()}

    def copy(self, text: str, group: Hashable, seed: str) -> str | None:
        """Return the text with other values in its slots; None where it has none, or no other value is known.

        The same value twice in a text is changed alike.
        """
        rng = random.Random(f"{seed} {text}")  # noqa: S311 - no secret
        new: dict[tuple[str, str], str] = {}
        made = text
        for slot in reversed(slots(text)):
            value = text[slot.start : slot.end]
            others = [one for one in self._values.get((group, slot.kind), ()) if one != value]
            if others:
                chosen = new.setdefault((slot.kind, value), rng.choice(others))
                made = made[: slot.start] + chosen + made[slot.end :]
        return made if made != text else None
