"""The monitor on real input: trained on Financial PhraseBank, fed with Reuters of 1987 through a real broker.

    python tests/benchmarks/sentiment_reuters.py [--order arrival|time] [--without-bypass] [--window 180]

A home of its own (`--home`) keeps the trained model, so that a second run only feeds and works. The
broker is TRILLIUM_KAFKA__BOOTSTRAP, else one that is started here from Kafka's jars (`make kafka` brings
them). In the order of arrival (`newid`) the last 723 items are up to 47 hours late. The last line is JSON:
what was counted, items a second, and on which days which alerts opened.

What a plain rule does on this stream, measured beforehand on titles with a market word and a negative word
(rows with topics_flag BYPASS dropped): first alert on 19 October 05:00, then 20 October, none on the other
34 weekdays; with the BYPASS rows one false day, 7 April.
"""

import argparse
import contextlib
import csv
import gzip
import json
import os
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import select

from pipelines.flow import workplace
from pipelines.monitoring.feeding import feed
from pipelines.monitoring.publishing import run
from pipelines.monitoring.working import work
from pipelines.sentiment import default_recipe
from services.sentiment.store import AlertRow, open_database
from services.sentiment.topics import DEFAULT
from shared.finetuning.recipe import Recipe
from shared.settings import Settings, load_settings
from shared.storage.migrate import open_checked
from shared.stream.kafka_jars import find_jars
from shared.stream.kafka_local import LocalKafka

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "sentiment"
MARKETS = (
    "markets,Stock markets and share prices,stocks;stock market*;share prices;shares;wall street;dow;"
    "dow jones;bourse*;stock exchange*;equities;market;markets\n"
)


def phrasebank(target: Path) -> Path:
    """Write the sentences with 50 % agreement as text,sentiment and return the file."""
    text = (DATA / "financial_phrasebank" / "Sentences_50Agree.txt").read_text("latin-1")
    rows = [line.rsplit("@", 1) for line in text.splitlines() if "@" in line]
    with target.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "sentiment"), *rows])
    return target


def reuters(target: Path, *, order: str, bypass: bool, limit: int | None) -> Path:
    """Write the stream as JSON Lines and return the file; rows keep their broken dates."""
    csv.field_size_limit(10_000_000)
    with gzip.open(
        DATA / "reuters21578" / "derived_dated_stream.csv.gz", "rt", encoding="utf-8", newline=""
    ) as file:
        rows = [row for row in csv.DictReader(file) if bypass or row["topics_flag"] != "BYPASS"]
    if order == "arrival":
        rows.sort(key=lambda row: int(row["newid"]))
    with target.open("w", encoding="utf-8") as out:
        for row in rows[:limit]:
            item = {
                "id": f"r{row['newid']}",
                "ts": row["ts"],
                "title": row["title"],
                "text": row["body"],
                "source": "reuters",
            }
            out.write(json.dumps(item) + "\n")
    return target


@contextlib.contextmanager
def broker(home: Path) -> Iterator[str]:
    given = os.environ.get("TRILLIUM_KAFKA__BOOTSTRAP")
    if given:
        yield given
        return
    libs = find_jars(home) or find_jars(Path("var"))
    if libs is None:
        sys.exit("no Kafka: run `make kafka` once, or set TRILLIUM_KAFKA__BOOTSTRAP")
    with LocalKafka(libs) as kafka:
        yield kafka.bootstrap


def train(settings: Settings, home: Path) -> dict[str, Any]:
    topics = home / "topics.csv"
    topics.write_text(DEFAULT.read_text("utf-8") + MARKETS, "utf-8")
    place = workplace(settings, "sentiment")
    if place.pointer.current() is not None:
        return {"artifact": str(place.pointer.current()), "kept": True}
    data = phrasebank(home / "phrasebank.csv")
    return run(place, data, Recipe.read(default_recipe()), topics=topics, promote=True)


def alerts(settings: Settings) -> dict[str, list[str]]:
    """Return day -> the alerts that opened on it."""
    days: dict[str, list[str]] = defaultdict(list)
    with open_checked(open_database(settings)) as db, db.read() as session:
        for row in session.scalars(select(AlertRow).order_by(AlertRow.opened, AlertRow.id)):
            why = row.why
            days[row.opened.strftime("%Y-%m-%d %a")].append(
                f"{row.opened:%H:%M} {row.series} {row.severity} peak {row.peak} "
                f"({why['negative']}/{why['count']}, expected {why['expected']}, p {why['p_count']:.1e})"
            )
    return days


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--home", type=Path, default=Path("var/reuters"))
    parser.add_argument("--order", choices=("arrival", "time"), default="arrival")
    parser.add_argument("--without-bypass", action="store_true")
    parser.add_argument("--window", type=int, default=180, help="minutes; 180 as the plain rule has it")
    parser.add_argument("--limit", type=int)
    given = parser.parse_args()
    if not DATA.is_dir():
        sys.exit(f"the public data sets are not at {DATA}")
    given.home.mkdir(parents=True, exist_ok=True)
    settings = load_settings({"home": str(given.home)})
    trained = train(settings, given.home)
    print(json.dumps(trained, default=str), flush=True)
    for file in (given.home / "db").glob("sentiment.sqlite*"):
        file.unlink()  # each run counts anew; the model stays
    stream = reuters(
        given.home / "stream.jsonl", order=given.order, bypass=not given.without_bypass, limit=given.limit
    )
    with broker(given.home) as bootstrap:
        own = {"window_minutes": given.window}
        settings = load_settings(
            {"home": str(given.home), "kafka": {"bootstrap": bootstrap}, "sentiment": own}
        )
        started = time.monotonic()
        fed = feed(settings, stream)
        feeding = time.monotonic() - started
        started = time.monotonic()
        done = work(settings, until_idle=True)
        working = time.monotonic() - started
    days = alerts(settings)
    for day, found in days.items():
        print(day, *found, sep="\n    ")
    figures = {
        "order": given.order,
        "window_minutes": given.window,
        "bypass": not given.without_bypass,
        "sent": fed.sent,
        "feed_per_s": round(fed.sent / feeding),
        "items_per_s": round(done["processed"] / working, 1),
        "minutes": round(working / 60, 1),
        **done,
        "days": {day: len(found) for day, found in days.items()},
    }
    print(json.dumps(figures, default=str), flush=True)


if __name__ == "__main__":
    main()
