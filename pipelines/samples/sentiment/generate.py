"""Write the example data again: `python -m pipelines.samples.sentiment.generate`. Same seed, same bytes."""

import csv
import io
import json
import random
import re
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from pipelines.samples.sentiment import phrases
from pipelines.samples.sentiment.headlines import FEELINGS, Headline, Writer
from shared.clock import to_text

SEED = 20260302
HERE = Path(__file__).parent
TRAIN_ROWS, HELD_ROWS = 1_800, 480
FRESH = 0.3  # share of held-out clauses that training has never seen
NEAREST = 0.75  # the most words that a held-out row may share with a training row (Jaccard)
FIRST, DAYS = datetime(2026, 3, 2, tzinfo=UTC), 21  # a Monday
# Shares of the topics, "" is news without one; and of the feelings.
TOPICS = {
    "earnings": 0.19, "mergers": 0.13, "supply chain": 0.12, "regulation": 0.11, "management change": 0.11,
    "litigation": 0.10, "credit risk": 0.09, "cyber incident": 0.08, "": 0.07,
}  # fmt: skip
FEELING_SHARES = (0.27, 0.43, 0.30)
# Items an hour on a weekday and on a day of the weekend, by hour of the day in UTC.
WEEKDAY = (2, 1, 1, 1, 2, 5, 10, 14, 13, 10, 9, 9, 10, 13, 14, 13, 11, 9, 7, 5, 4, 4, 3, 2)
WEEKEND = (1, 1, 1, 1, 1, 1, 2, 3, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 3, 3, 2, 2, 1)


class Burst(NamedTuple):
    """Extra news on one topic: `items` from `start` for `hours`, with these shares of the feelings."""

    topic: str
    start: datetime
    hours: int
    items: int
    shares: tuple[float, float, float]


# The surge that must be alerted, and the decoy, a burst of good news, that must not.
SURGE = Burst("cyber incident", datetime(2026, 3, 18, 12, tzinfo=UTC), 5, 62, (0.76, 0.14, 0.10))
DECOY = Burst("mergers", datetime(2026, 3, 16, 9, tzinfo=UTC), 5, 58, (0.02, 0.16, 0.82))


class Item(NamedTuple):
    """One item of the stream: when it was published and when it arrived, and its headline."""

    ts: datetime
    arrives: datetime
    source: str
    headline: Headline
    text: str


def training(seed: int = SEED) -> list[Headline]:
    """Return the distinct training headlines, in random order."""
    rng = random.Random(f"{seed}/train")  # noqa: S311 - invented data, not a secret
    return _distinct(rng, Writer(rng, phrases.COMPANIES, fresh=0.0), TRAIN_ROWS, [])


def held_out(train: Sequence[Headline], seed: int = SEED) -> list[Headline]:
    """Return the distinct held-out headlines, none close to a training one."""
    rng = random.Random(f"{seed}/held")  # noqa: S311 - invented data, not a secret
    return _distinct(
        rng, Writer(rng, phrases.HELD_COMPANIES, FRESH), HELD_ROWS, [words(r.text) for r in train]
    )


def _distinct(
    rng: random.Random, writer: Writer, rows: int, far_from: list[frozenset[str]]
) -> list[Headline]:
    found: dict[str, Headline] = {}
    while len(found) < rows:
        one = writer.write(_pick(rng, TOPICS), rng.choice(FEELINGS))
        if all(jaccard(words(one.text), other) <= NEAREST for other in far_from):
            found.setdefault(one.text, one)
    return list(found.values())


def words(text: str) -> frozenset[str]:
    """Return the words of a text, in lower case."""
    return frozenset(re.findall(r"\w+", text.lower()))


def jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    """Return the share of common words, 0 to 1."""
    return len(one & other) / len(one | other)


def stream(seed: int = SEED) -> list[Item]:
    """Return the items of 21 days in the order of arrival; a few arrive up to 25 minutes late."""
    rng = random.Random(f"{seed}/stream")  # noqa: S311 - invented data, not a secret
    writer = Writer(rng, [*phrases.COMPANIES, *phrases.HELD_COMPANIES], fresh=0.15)
    items = [
        _item(rng, writer, _pick(rng, TOPICS), _moment(rng, start, 1), FEELING_SHARES)
        for start, count in _hours(rng)
        for _ in range(count)
    ]
    for burst in (SURGE, DECOY):
        for _ in range(burst.items):
            moment = _moment(rng, burst.start, burst.hours)
            items.append(_item(rng, writer, burst.topic, moment, burst.shares, plain=True))
    return sorted(items, key=lambda one: (one.arrives, one.headline.text))


def _hours(rng: random.Random) -> Iterable[tuple[datetime, int]]:
    for day in range(DAYS):
        start = FIRST + timedelta(days=day)
        for hour, mean in enumerate(WEEKEND if start.weekday() >= 5 else WEEKDAY):
            # A sum of coin tosses: close to Poisson, and the same in every version of Python.
            yield start + timedelta(hours=hour), sum(rng.random() < mean / 40 for _ in range(40))


def _moment(rng: random.Random, start: datetime, hours: int) -> datetime:
    return start + timedelta(seconds=int(rng.random() * hours * 3600))


def _item(
    rng: random.Random,
    writer: Writer,
    topic: str,
    ts: datetime,
    shares: Sequence[float],
    *,
    plain: bool = False,
) -> Item:
    feeling = rng.choices(FEELINGS, shares)[0]
    headline = writer.write(topic, feeling, plain=plain)
    late = timedelta(seconds=rng.randint(60, 1_500) if rng.random() < 0.04 else rng.randint(0, 40))
    text = writer.body() if rng.random() < 0.35 else ""
    return Item(ts, ts + late, _pick(rng, phrases.SOURCES), headline, text)


def _pick(rng: random.Random, shares: dict[str, float]) -> str:
    return rng.choices(list(shares), list(shares.values()))[0]


def files(seed: int = SEED) -> dict[str, str]:
    """Return name -> content of every file that is generated."""
    train, items = training(seed), stream(seed)
    ids = [f"n{number:05}" for number in range(1, len(items) + 1)]
    return {
        "train.csv": _labelled_csv(train),
        "held_out.csv": _labelled_csv(held_out(train, seed)),
        "stream.jsonl": "".join(_line(id_, item) for id_, item in zip(ids, items, strict=True)),
        "stream_truth.csv": _csv(
            ("id", "sentiment", "topics"),
            [
                (id_, one.headline.sentiment, "|".join(one.headline.topics))
                for id_, one in zip(ids, items, strict=True)
            ],
        ),
    }


def _labelled_csv(rows: Iterable[Headline]) -> str:
    return _csv(("text", "sentiment", "topics"), [(r.text, r.sentiment, "|".join(r.topics)) for r in rows])


def _csv(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(rows)
    return out.getvalue()


def _line(id_: str, item: Item) -> str:
    row: dict[str, Any] = {
        "id": id_,
        "ts": to_text(item.ts),
        "title": item.headline.text,
        "text": item.text,
        "source": item.source,
        "url": f"https://news.example/{id_}",
    }
    return json.dumps(row, ensure_ascii=False) + "\n"


def main() -> None:
    """Write the files beside this module."""
    for name, content in files().items():
        (HERE / name).write_text(content, "utf-8", newline="\n")
        sys.stdout.write(f"{name}: {content.count(chr(10)):,} lines, {len(content.encode()):,} bytes\n")


if __name__ == "__main__":
    main()
