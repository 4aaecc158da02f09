"""Words changed for others that near rows of the same labels have in their place."""

import random
from collections.abc import Hashable, Sequence
from difflib import SequenceMatcher

import numpy as np

from shared.finetuning.augmenting.words import replaced
from shared.models.heads import FloatArray
from shared.text.words import words

NEIGHBOURS = 5
LONGEST = 60  # words: comparing longer texts word by word costs much and finds little
WIDEST = 2  # words that stand for each other
MOST = 2  # changes in one copy
_CHUNK = 512

Words = tuple[str, ...]
Table = dict[Words, dict[Words, int]]  # what stood in whose place, and how often


class Substitutions:
    """By group (the labels of a row) the words that stood in each other's place, with how often.

    `vectors` (n, dim) are of unit length. A row is compared with its 5 nearest of the same group; two
    stretches of up to two words stand for each other where a word on both sides of them, or the end of the
    text, is the same.
    """

    def __init__(self, texts: Sequence[str], groups: Sequence[Hashable], vectors: FloatArray) -> None:
        self._tables: dict[Hashable, Table] = {}
        members: dict[Hashable, list[int]] = {}
        for i, group in enumerate(groups):
            members.setdefault(group, []).append(i)
        plain: list[Words] = [tuple(word.text.lower() for word in words(text)) for text in texts]
        for group, own in members.items():
            table: Table = {}
            for one, other in _pairs(vectors[own]):
                _compare(plain[own[one]], plain[own[other]], table)
            self._tables[group] = table

    def copy(self, text: str, group: Hashable, seed: str) -> str | None:
        """Return the text with one or two substitutions that were seen in its group, frequent ones rather.

        None where nothing in it was seen to be changed.
        """
        rng = random.Random(f"{seed} {text}")  # noqa: S311 - no secret
        table, found = self._tables.get(group, {}), words(text)
        plain = [word.text.lower() for word in found]
        new = [word.text for word in found]
        places = [
            (at, width)
            for at in range(len(plain))
            for width in range(1, WIDEST + 1)
            if tuple(plain[at : at + width]) in table and at + width <= len(plain)
        ]
        rng.shuffle(places)
        changed: set[int] = set()
        for at, width in places:
            if len(changed) >= MOST or changed & set(range(at, at + width)):
                continue
            known = table[tuple(plain[at : at + width])]
            (put,) = rng.choices(list(known), weights=list(known.values()))
            first = " ".join(put)
            new[at] = first.capitalize() if found[at].text[0].isupper() else first
            for place in range(at + 1, at + width):
                new[place] = ""
            changed |= set(range(at, at + width))
        made = replaced(text, found, new)
        made = " ".join(made.split()) if any(not word for word in new) else made
        return made if changed and made != text else None


def _pairs(vectors: FloatArray) -> list[tuple[int, int]]:
    """Return (row, neighbour) for the nearest of every row, each pair once."""
    found: set[tuple[int, int]] = set()
    for start in range(0, len(vectors), _CHUNK):
        scores = vectors[start : start + _CHUNK] @ vectors.T
        scores[np.arange(len(scores)), np.arange(start, start + len(scores))] = -np.inf
        nearest = np.argsort(-scores, axis=1, kind="stable")[:, : min(NEIGHBOURS, len(vectors) - 1)]
        found |= {
            (min(start + i, int(j)), max(start + i, int(j))) for i, row in enumerate(nearest) for j in row
        }
    return sorted(found)


def _compare(one: Words, other: Words, table: Table) -> None:
    if max(len(one), len(other)) > LONGEST:
        return
    codes = SequenceMatcher(None, one, other, autojunk=False).get_opcodes()
    if not any(code[0] == "equal" for code in codes):
        return
    for kind, start, end, left, right in codes:
        if kind == "replace" and end - start <= WIDEST and right - left <= WIDEST:
            for a, b in ((one[start:end], other[left:right]), (other[left:right], one[start:end])):
                own = table.setdefault(a, {})
                own[b] = own.get(b, 0) + 1
