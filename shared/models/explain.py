"""Which words moved a head's answer: each word is masked in turn, all in one batch of the serving engine.

Occlusion (Zeiler and Fergus 2014) on words. It needs no gradients, so it works on every engine and says what
really happens when a word is not there; words that say the same thing twice hide each other.
"""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from shared.errors import BadInput, NotFound
from shared.models.heads import GRADED, FloatArray, HeadSpec
from shared.models.text_model import TextModel
from shared.text.words import Word, words

KINDS = ("classify", "multilabel", "regress", *GRADED, "embed")
BEHIND = 1000  # characters beyond twice what is read: a mask is shorter than the words that it covers
MOST = 64  # masked texts: of a longer text, neighbouring words are masked together
_MASKS = ("[MASK]", "<mask>")

Method = Literal["occlusion", "gradients"]
Array = npt.NDArray[np.float64]
Measure = Callable[[FloatArray], Array]


class Token(NamedTuple):
    """A word, characters `start` to `end` of the text, and how far it speaks for (above 0) or against the
    answer."""

    text: str
    start: int
    end: int
    weight: float


class Explanation(NamedTuple):
    """What a head answers (a label, or a number where it has none) and why: the text's words in order."""

    label: str | float
    tokens: list[Token]
    method: Method


def occlusion(
    model: TextModel,
    text: str,
    head: str | None = None,
    *,
    label: str | None = None,
    other: str | None = None,
) -> Explanation:
    """Return how far each word of `text` moves `head` (by default the first that can be explained).

    A weight is what is lost without the word: log-odds of the label for classify and multilabel (of the most
    probable one unless `label` says another), the number itself for regress, log-odds of belonging together
    for score and similarity, the cosine to the text `other` for embed; these three need `other`. Words
    behind the model's length weigh 0. Of more than 64 words, neighbours are masked together and share it.
    Raises BadInput for a head of another kind or a missing `other`, NotFound for an unknown head or label.
    """
    spec = explained_head(model, head)
    if (spec.kind in (*GRADED, "embed")) != (other is not None):
        raise BadInput(f"a {spec.kind} head {'needs' if other is None else 'reads no'} second text")
    found = words(text)
    runs = runs_of(model, text, found)
    text = readable(model, text)
    cover, _ = mask_token(model)
    masked = [text[: run[0].start] + covered(text, run, cover) + text[run[-1].end :] for run in runs]
    rows = _numbers(model, spec, [text, *masked], other)
    answer, measure = reading(spec, rows[0], label)
    values = measure(rows)
    return Explanation(answer, weighed(found, runs, values[0] - values[1:]), "occlusion")


def runs_of(model: TextModel, text: str, found: Sequence[Word]) -> list[Sequence[Word]]:
    """Return the words of the text that the model reads, in at most 64 runs of neighbours."""
    end = _end_of_reading(model, text)
    read = [word for word in found if word.start < end]
    places = np.array_split(np.arange(len(read)), max(1, min(len(read), MOST)))
    return [read[at[0] : at[-1] + 1] for at in places if len(at)]


def readable(model: TextModel, text: str) -> str:
    """Return the text without what lies too far behind the model's length for any masking to reach it."""
    return text[: 2 * _end_of_reading(model, text) + BEHIND]


def weighed(found: Sequence[Word], runs: Sequence[Sequence[Word]], drops: Array) -> list[Token]:
    """Return all words with their weight: the run's drop shared among its words, 0 for a word in no run."""
    weights = {word: drop / len(run) for run, drop in zip(runs, drops, strict=True) for word in run}
    return [Token(*word, round(float(weights.get(word, 0.0)), 6)) for word in found]


def explained_head(model: TextModel, name: str | None) -> HeadSpec:
    """Return the head of that name, or the first whose kind can be explained, `embed` last.

    Raises NotFound for a name that is no head, BadInput where the kind can't be explained.
    """
    if name is not None and name not in model.heads:
        raise NotFound(f"this model has no head {name!r}; it has {', '.join(model.heads)}")
    fitting = sorted((h for h in model.heads.values() if h.kind in KINDS), key=lambda h: h.kind == "embed")
    chosen = model.heads[name] if name is not None else next(iter(fitting), None)
    if chosen is None or chosen.kind not in KINDS:
        which = f"head {chosen.name!r} is of kind {chosen.kind}" if chosen else "no head of this model"
        raise BadInput(f"{which}; only heads of kind {', '.join(KINDS)} are explained")
    return chosen


def reading(spec: HeadSpec, row: FloatArray, label: str | None = None) -> tuple[str | float, Measure]:
    """Return what the head says of a text, and how its rows of numbers become the measure that words move.

    `row` (width,) are the text's raw numbers (for embed the cosine). The measure takes rows (n, width) and
    gives (n,). Raises NotFound for a label that the head doesn't have.
    """
    if spec.kind == "embed":
        return float(row[0]), lambda rows: rows[:, 0].astype(np.float64)
    if spec.kind in ("regress", *GRADED):
        value = float(np.ravel(spec.decode(row[None]))[0])
        scale = spec.spread if spec.kind == "regress" else 1 / spec.temperature
        return value, lambda rows: rows[:, 0].astype(np.float64) * scale
    if label is not None and label not in spec.labels:
        raise NotFound(f"head {spec.name!r} has no label {label!r}; it has {', '.join(spec.labels)}")
    at = spec.labels.index(label) if label is not None else int(row.argmax())
    return spec.labels[at], lambda rows: log_odds(spec, rows, at)


def log_odds(spec: HeadSpec, rows: FloatArray, at: int) -> Array:
    """Return (n,) log(p / (1 - p)) of label `at` for raw numbers (n, labels), calibrated."""
    scaled = rows.astype(np.float64) / spec.temperature
    if spec.kind == "multilabel":
        own: Array = scaled[:, at]
        return own
    others = np.delete(scaled, at, axis=1)
    top = others.max(1)
    odds: Array = scaled[:, at] - top - np.log(np.exp(others - top[:, None]).sum(1))
    return odds


def _numbers(model: TextModel, spec: HeadSpec, texts: list[str], other: str | None) -> FloatArray:
    if spec.kind == "embed":
        vectors = model.embed([*texts, str(other)])
        cosines: FloatArray = vectors[:-1] @ vectors[-1:].T
        return cosines
    pairs = [str(other)] * len(texts) if spec.kind in GRADED else None
    rows = model.logits(texts, pairs=pairs)[spec.name]
    return rows


def mask_token(model: TextModel) -> tuple[str, int]:
    """Return the model's own token for a word that is not told, as text and as number.

    Without one: no text, so that a word is taken out instead, and the number of the padding.
    """
    pair = [""] if model.paired else None
    for mask in _MASKS:
        (encoding,) = model.encode([mask], pairs=pair)
        if mask in encoding.tokens:
            return mask, int(encoding.ids[encoding.tokens.index(mask)])
    return "", model.card.pad_id


def _end_of_reading(model: TextModel, text: str) -> int:
    if model.paired:  # where a pair is cut depends on both texts
        return len(text)
    (encoding,) = model.encode([text])
    return max((end for _, end in encoding.offsets), default=0)


def covered(text: str, run: Sequence[Word], mask: str) -> str:
    """Return the piece of the text from the first word of the run to its last, each word masked."""
    pieces, at = [], run[0].start
    for word in run:
        pieces += [text[at : word.start], mask]
        at = word.end
    return "".join(pieces)
