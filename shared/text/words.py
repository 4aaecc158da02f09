"""Words and sentences as spans of the text; Chinese and Japanese, written without spaces, too."""

import re
from typing import NamedTuple

# Scripts without spaces between words: every sign counts as a word of its own.
SIGNS = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002fa1f"  # kana and Han
_WORD = re.compile(rf"[{SIGNS}]|(?:(?![{SIGNS}])[^\W_])+(?:['’.-](?:(?![{SIGNS}])[^\W_])+)*")
_END = re.compile(r"[.!?…]+[\"'”’)\]]*(?=\s)|[。！？；…]+[”’」』）]*|\n+")
_SHORT = re.compile(
    r"(?:\b(?:e\.g|i\.e|mr|mrs|ms|dr|prof|no|nr|st|vs|approx|incl|max|min|fig|ext|tel|inc|ltd|co)|\b[A-Z])\.$",
    re.IGNORECASE,
)
_NUMBERED = re.compile(r"^(?:\d{1,3}|[a-z])[.)]$", re.IGNORECASE)


class Word(NamedTuple):
    """`text` is characters `start` to `end` of the text it came from, case as written."""

    text: str
    start: int
    end: int


class Span(NamedTuple):
    """Characters `start` to `end`, without blanks at either side."""

    start: int
    end: int


def words(text: str) -> list[Word]:
    """Return the words in order; a Han or kana sign is one word, punctuation and `_` are none."""
    return [Word(match.group(), *match.span()) for match in _WORD.finditer(text)]


def sentences(text: str) -> list[Span]:
    """Return the sentences in order, never empty ones.

    A line break always ends a sentence (cleaned text holds a paragraph, heading or list entry a
    line). "e.g.", an initial and the number of a list entry end none.
    """
    spans: list[Span] = []
    start = 0
    for match in _END.finditer(text):
        head = text[start : match.end()].strip()
        if match.group().startswith("."):
            follows = text[match.end() :].lstrip()[:1]
            if _SHORT.search(head) or _NUMBERED.match(head) or follows.islower():
                continue
        _append(spans, text, start, match.end())
        start = match.end()
    _append(spans, text, start, len(text))
    return spans


def _append(spans: list[Span], text: str, start: int, end: int) -> None:
    piece = text[start:end]
    left = start + len(piece) - len(piece.lstrip())
    right = start + len(piece.rstrip())
    if left < right:
        spans.append(Span(left, right))
