"""Cut a stored text into overlapping pieces that an encoder can read whole."""

from itertools import pairwise
from typing import NamedTuple

from shared.text.words import Span, sentences, words

# MiniLM reads 256 word pieces; English support text has about 1.35 pieces a word.
MAX_WORDS = 180
OVERLAP = 30


class Chunk(NamedTuple):
    """A piece: `text` (title and passage) is encoded; the passage is `start` to `end` of the stored text."""

    id_suffix: str
    start: int
    end: int
    text: str


def chunk(title: str, text: str, *, max_words: int = MAX_WORDS, overlap: int = OVERLAP) -> list[Chunk]:
    """Return the chunks in order; they cover every word, and end where sentences end.

    A chunk has at most `max_words` words of `text`, repeats at most `overlap` words of whole
    sentences of the one before, and its `text` begins with the title. A sentence longer than
    `max_words` is cut between words. A text without words gives one chunk of its title, so that a
    document can always be found; with neither there is none. Needs 0 <= overlap < max_words.
    """
    if not 0 <= overlap < max_words:
        raise ValueError(f"overlap {overlap} must be at least 0 and below max_words {max_words}")
    units = [unit for span in sentences(text) for unit in _units(text, span, max_words)]
    if not any(count for _, count in units):
        return [Chunk("0", 0, len(text), title)] if title.strip() else []
    chunks: list[Chunk] = []
    for group in _pack(units, max_words, overlap):
        start, end = group[0][0].start, group[-1][0].end
        passage = text[start:end]
        whole = f"{title}\n{passage}" if title.strip() else passage
        chunks.append(Chunk(str(len(chunks)), start, end, whole))
    return chunks


def _units(text: str, span: Span, max_words: int) -> list[tuple[Span, int]]:
    found = words(text[span.start : span.end])
    if len(found) <= max_words:
        return [(span, len(found))]
    cuts = [span.start + found[i].start for i in range(max_words, len(found), max_words)]
    edges = [span.start, *cuts, span.end]
    return [
        (Span(left, left + len(text[left:right].rstrip())), min(max_words, len(found) - i * max_words))
        for i, (left, right) in enumerate(pairwise(edges))
    ]


def _pack(units: list[tuple[Span, int]], max_words: int, overlap: int) -> list[list[tuple[Span, int]]]:
    groups: list[list[tuple[Span, int]]] = []
    current: list[tuple[Span, int]] = []
    size = 0
    for unit in units:
        if current and size + unit[1] > max_words:
            groups.append(current)
            current = _tail(current, min(overlap, max_words - unit[1]))
            size = sum(count for _, count in current)
        current.append(unit)
        size += unit[1]
    return [*groups, current]


def _tail(group: list[tuple[Span, int]], room: int) -> list[tuple[Span, int]]:
    tail: list[tuple[Span, int]] = []
    for unit in reversed(group[1:]):  # never the whole group: the next chunk must move on
        room -= unit[1]
        if room < 0:
            break
        tail.insert(0, unit)
    return tail
