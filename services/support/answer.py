"""The extractive answer: sentences of the passages, word for word and cited, or "I do not know"."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from services.support.domain import Draft, FloatArray, Passage, Query, Quote
from services.support.sentences import Sentence, sentences_of
from shared.text.words import words

MOST = 3  # sentences that are quoted from one place
NEAR = 0.15  # a neighbour of the best sentence belongs to it when its score comes this near
SECOND = 0.04  # another document is quoted too when its best sentence comes this near
READ = 3  # passages that are read sentence by sentence
CONTEXT = 0.4  # share of the passage's own score in a sentence's: a sentence means what its page means
SHORTEST = 4  # words; a shorter line is a label, not an answer
REMEMBERED = 20_000  # sentence vectors; 384 floats each, 30 MB

Embed = Callable[[Sequence[str]], FloatArray]
Scores = npt.NDArray[np.float64]


class SentenceVectors:
    """Vectors of sentences, the latest 20,000 kept: help pages are asked again and again. Thread-safe."""

    def __init__(self, embed: Embed, size: int = REMEMBERED) -> None:
        self._embed, self._size = embed, size
        self._kept: OrderedDict[str, FloatArray] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, texts: Sequence[str]) -> FloatArray:
        """Return (len(texts), dim) unit vectors."""
        with self._lock:
            found = {text: self._kept[text] for text in texts if text in self._kept}
        missing = list(dict.fromkeys(text for text in texts if text not in found))
        if missing:
            found |= dict(zip(missing, self._embed(missing), strict=True))
        with self._lock:
            for text in texts:
                self._kept[text] = found[text]
                self._kept.move_to_end(text)
            while len(self._kept) > self._size:
                self._kept.popitem(last=False)
        return np.stack([found[text] for text in texts])


def extract(query: Query, passages: Sequence[Passage], vectors: SentenceVectors) -> list[Quote]:
    """Return what answers best, best first; none when the passages hold no sentence.

    A quote is the best sentence of a document with the neighbours that come near it, so that it reads
    as it was written. A second document is quoted when it answers as well. A sentence is read with
    its heading, and scored together with its passage.
    """
    rows = _rows(passages[:READ])
    if not rows:
        return []
    told = vectors.of([f"{one.heading}\n{one.text}".strip() for _, one in rows])
    near = np.array([passage.score for passage, _ in rows])
    scores = (1 - CONTEXT) * (told @ query.vector) + CONTEXT * near
    short = np.array([len(words(one.text)) < SHORTEST for _, one in rows])
    scores = np.where(short, scores - 1.0, scores)
    quotes: list[Quote] = []
    for place in np.argsort(-scores, kind="stable").tolist():
        document = rows[place][0].document.id
        if quotes and (scores[place] < quotes[0].score - SECOND or len(quotes) == 2):
            break
        if document not in {quote.passage.document.id for quote in quotes}:
            quotes.append(_around(place, rows, scores))
    return quotes


def _rows(passages: Sequence[Passage]) -> list[tuple[Passage, Sentence]]:
    """Return the sentences of the passages; what two overlapping passages share comes once."""
    found: dict[tuple[str, int], tuple[Passage, Sentence]] = {}
    for passage in passages:
        for one in sentences_of(passage):
            found.setdefault((passage.document.id, one.start), (passage, one))
    return list(found.values())


def _around(best: int, rows: Sequence[tuple[Passage, Sentence]], scores: Scores) -> Quote:
    """Return the quote of sentence `best`: grown to the side whose next sentence is better."""
    first = last = best
    floor = scores[best] - NEAR
    while last - first + 1 < MOST:
        grown = [
            i
            for i in (first - 1, last + 1)
            if _belongs(i, best, rows) and _fits(i, last, rows, scores, floor)
        ]
        if not grown:
            break
        place = max(grown, key=lambda i: scores[i])
        first, last = min(first, place), max(last, place)
    passage = rows[best][0]
    return Quote(passage, rows[first][1].start, rows[last][1].end, float(scores[best]))


def _belongs(place: int, best: int, rows: Sequence[tuple[Passage, Sentence]]) -> bool:
    if not 0 <= place < len(rows):
        return False
    passage, one = rows[place]
    return passage is rows[best][0] and one.heading == rows[best][1].heading


def _fits(
    place: int, last: int, rows: Sequence[tuple[Passage, Sentence]], scores: Scores, floor: float
) -> bool:
    """A colon promises what follows; else a neighbour must come near the best one's score."""
    promised = place == last + 1 and rows[last][1].text.rstrip().endswith((":", "："))
    return promised or bool(scores[place] >= floor)


def told(quotes: Sequence[Quote]) -> str:
    """Return the answer's text: each quote with the number of its citation, from [1]."""
    return "\n".join(f"{_readable(quote)} [{number}]" for number, quote in enumerate(quotes, 1))


def _readable(quote: Quote) -> str:
    text = quote.text.strip()
    return text if "\n" in text else text.removeprefix("- ")  # a list of one entry needs no mark


def grounded(quotes: Sequence[Quote]) -> Draft:
    """Return the answer that these quotes make; needs at least one."""
    return Draft("answer", told(quotes), tuple(quotes))
