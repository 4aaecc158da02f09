"""Headlines out of clauses: one clause, two joined, or one that is denied or doubted."""

import random
import re
from dataclasses import dataclass

from pipelines.samples.sentiment import phrases

FEELINGS = ("negative", "neutral", "positive")
_SLOT = re.compile(r"\{(\w)\}")


@dataclass(frozen=True)
class Headline:
    """A headline with what is true of it."""

    text: str
    sentiment: str
    topics: tuple[str, ...]


class Writer:
    """Writes headlines about these companies; seeded. `fresh` is the share of clauses of the held side."""

    def __init__(self, rng: random.Random, companies: list[str], fresh: float) -> None:
        self._rng, self._fresh = rng, fresh
        self._companies = [name.replace("_", " ") for name in companies]

    def write(self, topic: str, sentiment: str, *, plain: bool = False) -> Headline:
        """Return a headline on `topic` ("" for none); `plain` keeps to one clause of that topic."""
        kind = 1.0 if plain else self._rng.random()
        if kind < 0.22 and sentiment != "neutral":
            return self._joined(topic, sentiment)
        if kind < 0.34:
            framed = self._framed(topic, sentiment)
            if framed is not None:
                return framed
        return self._dressed(self._clause(topic, sentiment), sentiment, (topic,))

    def body(self) -> str:
        """Return one or two sentences that say nothing of the feeling."""
        return " ".join(
            self._fill(text) for text in self._rng.sample(phrases.BODIES, self._rng.choice((1, 1, 2)))
        )

    def _joined(self, topic: str, sentiment: str) -> Headline:
        opposite = "positive" if sentiment == "negative" else "negative"
        second = topic if self._rng.random() < 0.4 else self._rng.choice(sorted(phrases.TOPICS))
        parts = {
            "main": self._clause(topic, sentiment),
            "other": self._clause(second, opposite),
        }
        frame = self._rng.choice(phrases.JOINED[self._side()])
        return self._dressed(frame.format(**parts), sentiment, (topic,))

    def _framed(self, topic: str, sentiment: str) -> Headline | None:
        choices = [
            (frame, inner)
            for frame, negative, positive in phrases.FRAMES[self._side()]
            for inner, outer in (("negative", negative), ("positive", positive))
            if outer == sentiment
        ]
        if not choices:
            return None
        frame, inner = self._rng.choice(choices)
        text = self._fill(frame.replace("{clause}", self._clause(topic, inner)))
        return self._dressed(text, sentiment, (topic,))

    def _clause(self, topic: str, sentiment: str) -> str:
        template = self._rng.choice(phrases.TOPICS[topic][sentiment][self._side()])
        inside = template if template[0] == "{" else template[0].lower() + template[1:]
        return self._fill(inside)

    def _side(self) -> str:
        return "held" if self._rng.random() < self._fresh else "train"

    def _dressed(self, text: str, sentiment: str, topics: tuple[str, ...]) -> Headline:
        before, after = self._rng.choice(phrases.BEFORE), self._rng.choice(phrases.AFTER)
        found = self._fill(before) + _sentence(text) + self._fill(after)
        return Headline(found, sentiment, tuple(dict.fromkeys(topic for topic in topics if topic)))

    def _fill(self, template: str) -> str:
        rng = self._rng
        company, other = rng.sample(self._companies, 2)
        place, second = rng.sample(phrases.PLACES, 2)
        words = {
            "c": company,
            "d": other,
            "k": place.replace("_", " "),
            "j": second.replace("_", " "),
            "n": str(rng.choice((3, 12, 18, 25, 40, 65, 90, 120, 250, 400, 700))),
            "p": str(rng.randint(2, 38)),
            "x": rng.choice(phrases.PEOPLE),
            "r": rng.choice(phrases.REGULATORS),
            "m": rng.choice(phrases.MONTHS),
            "q": rng.choice(phrases.QUARTERS),
            "s": rng.choice(sorted(phrases.SOURCES)),
        }
        return _SLOT.sub(lambda slot: words[slot.group(1)], template)


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]
