"""The sentences of a passage, each with the heading it stands under."""

from dataclasses import dataclass

from services.support.domain import Passage
from shared.text.words import sentences, words

_ENDS = tuple(".!?:;。！？：；…)\"'”’")
_HEADING_WORDS = 9  # a line of more words without a full stop is a list entry or a sentence


@dataclass(frozen=True)
class Sentence:
    """Characters `start` to `end` of the stored text; `heading` is the nearest above it, or empty."""

    start: int
    end: int
    text: str
    heading: str


def sentences_of(passage: Passage) -> list[Sentence]:
    """Return the passage's sentences in order; headings are no sentences, they are kept beside them."""
    source = passage.document.text
    found: list[Sentence] = []
    heading = ""
    for span in sentences(source[passage.start : passage.end]):
        start, end = passage.start + span.start, passage.start + span.end
        text = source[start:end]
        if _is_heading(source, start, end):
            heading = text
        else:
            found.append(Sentence(start, end, text, heading))
    return found


def _is_heading(source: str, start: int, end: int) -> bool:
    whole_line = (start == 0 or source[start - 1] == "\n") and (end == len(source) or source[end] == "\n")
    text = source[start:end]
    short = len(words(text)) < _HEADING_WORDS and not text.endswith(_ENDS)
    return whole_line and short and not text[:1].isdigit() and text[:1] not in "-*•"
