"""Write items.csv and events.csv: `python -m pipelines.samples.recommender.generate`.

People have latent tastes: a circle of hobbies that go together (bird watching with photography), a
budget, an appetite for novelty. None of it is written down; a model sees only the texts and the events.
"""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from shared.artifacts.files import write_aside
from shared.clock import to_text

HERE = Path(__file__).parent
SEED = 11
USERS, DAYS = 420, 60
END = datetime(2026, 6, 30, 22, 0, tzinfo=UTC)
NOISE = 0.18  # share of what people look at that has nothing to do with their taste
# Hobbies that share people. A pair says nothing in words: only behaviour can teach it.
FACETS = ("book", "tools", "refill", "gift", "children", "clothing", "paper", "optics", "comfort", "light")
CIRCLES = (
    ("baking", "coffee"),
    ("hiking", "camping", "dogs"),
    ("birds", "photo", "stars"),
    ("knitting", "paint"),
    ("wood", "garden", "birds"),
    ("games", "coffee", "home"),
    ("cycling", "hiking", "swim"),
    ("paint", "home", "photo"),
    ("baking", "garden"),
    ("dogs", "swim", "camping"),
    ("stars", "games"),
    ("wood", "cycling"),
)


@dataclass(frozen=True)
class Row:
    """An item of the catalogue; `day` is when it went on sale, 0 is before all events."""

    item_id: str
    title: str
    description: str
    tags: list[str]
    theme: str
    price: float
    day: float


def read_catalogue(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield (theme, [title, description, tags, price]) of each line."""
    theme = ""
    for line in path.read_text("utf-8").splitlines():
        if line.startswith("["):
            theme = line.strip("[]")
        elif "|" in line and not line.startswith("#"):
            yield theme, line.split("|")


def items(rng: Generator) -> list[Row]:
    """Return the items in a shuffled order of ids; one in five goes on sale in the last 12 days."""
    rows = list(read_catalogue(HERE / "catalogue.txt"))
    numbers = rng.permutation(len(rows)) + 1001
    days = np.where(rng.random(len(rows)) < 0.2, rng.uniform(DAYS - 12, DAYS - 1, len(rows)), 0.0)
    days = np.where((days == 0) & (rng.random(len(rows)) < 0.1), rng.uniform(5, DAYS - 15, len(rows)), days)
    return sorted(
        (
            Row(
                f"h{number}",
                cells[0],
                cells[1],
                [theme, *cells[2].split(",")],
                theme,
                float(cells[3]),
                float(day),
            )
            for (theme, cells), number, day in zip(rows, numbers, days, strict=True)
        ),
        key=lambda row: row.item_id,
    )


def _row(number: int, theme: str, cells: list[str], day: float) -> Row:
    title, description, tags, price = cells
    return Row(f"h{number}", title, description, [theme, *tags.split(",")], theme, float(price), day)


def tastes(rng: Generator, themes: list[str]) -> NDArray[np.float64]:
    """Return (USERS, themes): how much each person cares, one or two circles each and a little of all."""
    likes = rng.dirichlet(np.full(len(themes), 0.15), USERS) * 0.25
    for user in range(USERS):
        for share, circle in zip((0.75, 0.25), rng.permutation(len(CIRCLES))[:2], strict=True):
            if share == 0.25 and rng.random() < 0.4:
                continue
            own = rng.dirichlet(np.full(len(CIRCLES[circle]), 1.2))
            for theme, weight in zip(CIRCLES[circle], own, strict=True):
                likes[user, themes.index(theme)] += share * weight
    shares: NDArray[np.float64] = likes / likes.sum(axis=1, keepdims=True)
    return shares


def events(rng: Generator, rows: list[Row]) -> list[tuple[str, str, str, datetime]]:
    """Return (user, item, event, time) of all visits, by time."""
    themes = sorted({row.theme for row in rows})
    likes = tastes(rng, themes)
    of_theme = {theme: [i for i, row in enumerate(rows) if row.theme == theme] for theme in themes}
    popular = rng.permutation(1.0 / np.arange(1, len(rows) + 1) ** 0.65)
    budgets, novelty = rng.normal(3.4, 0.7, USERS), rng.uniform(0.0, 1.5, USERS)
    facets = np.exp(rng.normal(0.0, 0.8, (USERS, len(FACETS))))  # some buy every book, some only tools
    marks = np.array([[facet in row.tags for facet in FACETS] for row in rows])
    names = [f"u{number:04d}" for number in rng.permutation(USERS) + 1]
    found: list[tuple[str, str, str, datetime]] = []
    for user in range(USERS):
        favourite = rng.gamma(1.0, 1.0, len(rows))  # what only this person sees in a thing
        favourite = (0.3 + favourite) * np.where(marks, facets[user], 1.0).prod(axis=1)
        bought: set[int] = set()
        starts = np.sort(rng.uniform(0, DAYS, rng.poisson(9) + 3))
        for start in starts:
            theme = themes[rng.choice(len(themes), p=likes[user])]
            moment = END - timedelta(days=DAYS - float(start))
            for _ in range(rng.integers(2, 7)):
                stray = rng.random() < NOISE
                shelf = [i for i in (range(len(rows)) if stray else of_theme[theme]) if rows[i].day <= start]
                pull = popular[shelf] * favourite[shelf]
                fresh = np.array([rows[i].day > start - 8 and rows[i].day > 0 for i in shelf])
                pull = pull * (1 + 3 * novelty[user] * fresh)
                dear = np.log([rows[i].price for i in shelf]) - budgets[user]
                pull = pull * np.exp(-0.35 * np.maximum(dear, 0) ** 2)
                again = np.array([i in bought and "refill" not in rows[i].tags for i in shelf])
                pull = np.where(again, pull * 0.03, pull)
                one = shelf[rng.choice(len(shelf), p=pull / pull.sum())]
                for kind in _acts(rng, 0.25 if stray else 1.0):
                    found.append((names[user], rows[one].item_id, kind, moment))
                    moment += timedelta(seconds=int(rng.integers(8, 140)))
                    if kind == "buy":
                        bought.add(one)
    return sorted((event for event in found if event[3] <= END), key=lambda event: (event[3], event[0]))


def _acts(rng: Generator, keen: float) -> list[str]:
    """Return what happens with one item of a visit, in order."""
    acts = ["view"]
    if rng.random() < 0.55 * keen:
        acts.append("click")
        if rng.random() < 0.1 * keen:
            acts.append("comment")
        if rng.random() < 0.08 * keen:
            acts.append("share")
        if rng.random() < 0.6 * keen:
            acts.append("buy")
    return acts


def _csv(head: list[str], rows: list[list[str]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(rows)
    return text.getvalue().encode()


def write(folder: Path = HERE, seed: int = SEED) -> None:
    """Write both files; the same seed gives the same bytes."""
    rng = np.random.default_rng(seed)
    rows = items(rng)
    start = END - timedelta(days=DAYS)
    table = [
        [
            row.item_id,
            row.title,
            row.description,
            "|".join(row.tags),
            f"{row.price:.2f}",
            (start + timedelta(days=row.day)).date().isoformat(),
        ]
        for row in rows
    ]
    head = ["item_id", "title", "description", "tags", "price", "created"]
    write_aside(folder / "items.csv", _csv(head, table))
    acts = [
        [user, item, kind, to_text(ts.replace(microsecond=0))] for user, item, kind, ts in events(rng, rows)
    ]
    write_aside(folder / "events.csv", _csv(["user_id", "item_id", "event", "ts"], acts))


if __name__ == "__main__":
    write()
