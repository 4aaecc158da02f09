"""Next-sentence prediction: a text cut in two, and now and then another's second part."""

from collections.abc import Sequence
from typing import Any

import torch

from shared.text.words import sentences


def parted(text: str) -> tuple[str, ...] | bool:
    """Return the text's sentences, in order; True for a text of one, which can't be cut."""
    found = tuple(text[span.start : span.end] for span in sentences(text))
    return found if len(found) > 1 else True


def drawn(texts: Sequence[str], values: Sequence[Any]) -> tuple[list[str], list[str], list[int | None]]:
    """Return for each row its first part, a second part, and 1 where that follows.

    `values` are what `parted` gave of the texts. The cut is drawn anew each time, and for half of the rows
    the second part is that of another text of the batch (0). A text that can't be cut comes whole with "" and
    None, for nothing to be learnt; so do both parts of a text that is alone in its batch.
    """
    own = [i for i, value in enumerate(values) if isinstance(value, tuple)]
    firsts: list[str] = []
    seconds: list[str] = []
    follows: list[int | None] = []
    for text, value in zip(texts, values, strict=True):
        if not isinstance(value, tuple):
            firsts.append(text)
            seconds.append("")
            follows.append(None)
            continue
        first, second = _cut(value)
        others = [i for i in own if values[i] != value]
        follow = 1 if others else None
        if others and _draw(2):
            follow, second = 0, _cut(values[others[_draw(len(others))]])[1]
        firsts.append(first)
        seconds.append(second)
        follows.append(follow)
    return firsts, seconds, follows


def _cut(parts: tuple[str, ...]) -> tuple[str, str]:
    at = 1 + _draw(len(parts) - 1)
    return " ".join(parts[:at]), " ".join(parts[at:])


def _draw(count: int) -> int:
    # torch's own generator: it goes through checkpoints, as what hides the words does.
    return int(torch.randint(count, ()))
