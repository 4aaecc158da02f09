"""The extractive answer: sentences of the passages, word for word and cited, or "I do not know"."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence

import numpy as np

from services.support.domain import Draft, FloatArray, Passage, Query, Quote
from services.support.sentences import Sentence, sentences_of

MOST = 3  # sentences in an answer
NEAR = 0.12  # a further sentence must come this near to the best one's score
READ = 3  # passages that are read sentence by sentence
CONTEXT = 0.35  # share of the passage's own score in a sentence's: a sentence means what its page means
REMEMBERED = 20_000  # sentence vectors; 384 floats each, 30 MB

Embed = Callable[[Sequence[str]], FloatArray]


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
    """Return the quotes that answer best, in the order in which they should be read; none for no text.

    The best sentence decides the passage; others of the read passages join it when they come near its
    score. A sentence is read with its title and heading, and scored with its passage. Sentences that
    follow each other are one quote.
    """
    rows = [(passage, one) for passage in passages[:READ] for one in sentences_of(passage)]
    rows = list({(p.document.id, s.start): (p, s) for p, s in reversed(rows)}.values())[::-1]
    if not rows:
        return []
    told = vectors.of([_in_context(passage, one) for passage, one in rows])
    scores = (1 - CONTEXT) * (told @ query.vector) + CONTEXT * np.array([p.score for p, _ in rows])
    best = int(np.argmax(scores))
    order = [i for i in np.argsort(-scores, kind="stable") if scores[i] >= scores[best] - NEAR][:MOST]
    chosen = {*order, *_steps_after(rows, best)}
    first = rows[best][0].document.id
    reading = sorted(chosen, key=lambda i: (rows[i][0].document.id != first, i))
    return _joined([(*rows[i], float(scores[i])) for i in reading])


def _in_context(passage: Passage, one: Sentence) -> str:
    above = ": ".join(part for part in (passage.document.title, one.heading) if part)
    return f"{above}\n{one.text}"


def _steps_after(rows: Sequence[tuple[Passage, Sentence]], best: int) -> list[int]:
    """A sentence that ends with a colon promises a list: its next lines belong to the answer."""
    passage, one = rows[best]
    if not one.text.rstrip().endswith((":", "：")):
        return []
    same = [i for i in range(best + 1, min(best + 1 + MOST, len(rows))) if rows[i][0] is passage]
    return [i for i in same if rows[i][1].heading == one.heading]


def _joined(chosen: Sequence[tuple[Passage, Sentence, float]]) -> list[Quote]:
    quotes: list[Quote] = []
    for passage, one, score in chosen:
        last = quotes[-1] if quotes else None
        follows = last is not None and last.passage.document.id == passage.document.id and (
            0 <= one.start - last.end <= 2
        )  # fmt: skip
        if follows and last is not None:
            quotes[-1] = Quote(last.passage, last.start, one.end, max(last.score, score))
        else:
            quotes.append(Quote(passage, one.start, one.end, score))
    return quotes


def told(quotes: Sequence[Quote]) -> str:
    """Return the answer's text: each quote with the number of its citation, from [1]."""
    return "\n".join(f"{quote.text.strip()} [{number}]" for number, quote in enumerate(quotes, 1))


def grounded(quotes: Sequence[Quote]) -> Draft:
    """Return the answer that these quotes make; needs at least one."""
    return Draft("answer", told(quotes), tuple(quotes))
