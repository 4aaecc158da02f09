"""Names of labels that say what they mean are texts of their label: with few rows they are worth learning."""

import re
from collections.abc import Sequence

from shared.finetuning.examples import Example
from shared.finetuning.recipe import Recipe
from shared.models.heads import HeadSpec

_BREAK = re.compile(r"[\W_]+|(?<=[a-z])(?=[A-Z])")  # "card_arrival", "card-arrival", "cardArrival"
_EMPTY = {"label", "class", "category", "topic", "intent", "type", "id", "none", "other", "misc"}


def words(label: str) -> str:
    """Return the label as words: marks and changes of case become blanks."""
    return " ".join(part for part in _BREAK.split(label) if part)


def telling(labels: Sequence[str]) -> bool:
    """Return whether labels look like words of a language: each has a word that is no number, no code and
    not just "label" or "class"."""
    return bool(labels) and all(_meant(words(label)) for label in labels)


def _meant(text: str) -> bool:
    parts = [part.lower() for part in text.split()]
    return any(part.isalpha() and _long(part) and part not in _EMPTY for part in parts)


def _long(word: str) -> bool:
    return len(word) >= (3 if word.isascii() else 2)  # a word of Chinese has two signs


def named_examples(recipe: Recipe, specs: Sequence[HeadSpec]) -> list[Example]:
    """Return one example per label of the classify heads that learn their names, in the labels' order."""
    return [
        Example(words(label), {spec.name: place}, source=str(recipe.heads[spec.name].data))
        for spec in specs
        if spec.name in recipe.heads and recipe.heads[spec.name].names
        for place, label in enumerate(spec.labels)
        if words(label)
    ]
