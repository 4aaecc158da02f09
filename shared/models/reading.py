"""A served model reads words, entities and answers: numbers per token become characters of the text."""

from collections.abc import Sequence

import numpy as np

from shared.models.heads import OUTSIDE, FloatArray, HeadSpec, softmax
from shared.models.spans import Answer, Offsets, best_answer, best_tags, first_tokens, pooled
from shared.models.text_model import TextModel

AROUND = 600  # characters that are read at each side of a span that stands behind the model's length


def word_tags(
    spec: HeadSpec, rows: FloatArray, offsets: Offsets, words: Sequence[tuple[int, int]]
) -> list[str]:
    """Return a tag for each word (start, end), a valid BIO sequence; words behind the cut are outside.

    `rows` are the raw numbers (tokens, labels) of a text, `offsets` the characters of its tokens.
    """
    first = [at for at in first_tokens(offsets, words) if at is not None]
    scores = np.log(softmax(rows[first].astype(np.float64) / spec.temperature) + 1e-12)
    tags = best_tags(scores.astype(np.float32), spec.labels)
    seen = iter(tags)
    return [next(seen) if at is not None else OUTSIDE for at in first_tokens(offsets, words)]


def span_probabilities(
    model: TextModel,
    name: str,
    text: str,
    spans: Sequence[tuple[int, int]],
    read: tuple[FloatArray, Offsets] | None = None,
) -> FloatArray:
    """Return (spans, labels) the probabilities of an entity head for spans (start, end) of a text.

    `read` are the head's numbers (tokens, labels) of the text and its tokens' offsets, where they are known
    already. A span behind the model's length is read with the text around it.
    """
    head = model.heads[name]
    rows, offsets = read or _read(model, name, text)
    found = []
    for start, end in spans:
        mean = pooled(rows, offsets, start, end)
        found.append(mean if mean is not None else _nearby(model, name, text, start, end))
    shape = (0, len(head.labels))
    return head.decode(np.stack(found)) if found else np.zeros(shape, np.float32)


def _read(model: TextModel, name: str, text: str) -> tuple[FloatArray, Offsets]:
    (encoding,) = model.encode([text])
    return model.raw([encoding])[name][0], encoding.offsets


def _nearby(model: TextModel, name: str, text: str, start: int, end: int) -> FloatArray:
    rows = np.zeros((1, len(model.heads[name].labels)), np.float32)
    for around in (AROUND, 50, 0):  # the last one can't be cut before the span begins
        left = max(0, start - around)
        rows, offsets = _read(model, name, text[left : end + around])
        mean = pooled(rows, offsets, start - left, end - left)
        if mean is not None:
            return mean
    whole: FloatArray = rows.mean(0)  # a span of blanks has no token of its own
    return whole


def windows_of(
    model: TextModel, questions: Sequence[str], passages: Sequence[str]
) -> list[list[tuple[FloatArray, Offsets]]]:
    """Return for each passage its windows, in order: raw numbers (tokens, 2) and offsets in the passage,
    (0, 0) for tokens that are not the passage's. A passage longer than the model has several, a quarter of
    each is in the next."""
    (name,) = [head.name for head in model.heads.values() if head.kind == "span"]
    encodings = model.encode(questions, pairs=passages)
    groups = [[encoding, *encoding.overflowing] for encoding in encodings]
    raw = model.raw([one for group in groups for one in group])[name]
    found: list[list[tuple[FloatArray, Offsets]]] = []
    at = 0
    for group in groups:
        windows: list[tuple[FloatArray, Offsets]] = []
        for one in group:
            offsets = [
                span if side == 1 else (0, 0)
                for span, side in zip(one.offsets, one.sequence_ids, strict=True)
            ]
            windows.append((raw[at][: len(offsets)], offsets))
            at += 1
        found.append(windows)
    return found


def answers(
    model: TextModel, questions: Sequence[str], passages: Sequence[str], *, no_answer: bool
) -> list[Answer]:
    """Return where in each passage the answer to its question stands; see `best_answer`."""
    return [best_answer(windows, no_answer=no_answer) for windows in windows_of(model, questions, passages)]
