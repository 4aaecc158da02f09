"""The example news keeps its own rules."""

import csv
import itertools
import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest

import pipelines.samples.sentiment
from pipelines.data import read_rows
from pipelines.samples.sentiment import phrases
from pipelines.samples.sentiment.generate import files, jaccard, words
from services.sentiment.topics import DEFAULT, read_topics
from shared.clock import parse_time
from shared.evaluation.baselines import tfidf_svm

HERE = Path(pipelines.samples.sentiment.__file__).parent


@pytest.fixture(scope="module")
def rows():
    def read(name):
        with (HERE / name).open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    return {name: read(f"{name}.csv") for name in ("train", "held_out", "stream_truth")}


@pytest.fixture(scope="module")
def items():
    return [json.loads(line) for line in (HERE / "stream.jsonl").read_text("utf-8").splitlines()]


def test_the_same_seed_writes_the_same_bytes():
    for name, content in files().items():
        assert (HERE / name).read_bytes() == content.encode(), (
            f"run python -m {pipelines.samples.sentiment.__name__}.generate"
        )


def test_no_held_out_headline_is_close_to_a_training_one(rows):
    known = [words(row["text"]) for row in rows["train"]]
    nearest = max(
        jaccard(one, other) for one in (words(row["text"]) for row in rows["held_out"]) for other in known
    )
    assert nearest <= 0.8


def test_the_data_is_neither_too_easy_nor_hopeless_for_a_plain_method(rows):
    train, held_out = rows["train"], rows["held_out"]
    said = tfidf_svm(
        [r["text"] for r in train], [r["sentiment"] for r in train], [r["text"] for r in held_out]
    )
    right = sum(a == r["sentiment"] for a, r in zip(said, held_out, strict=True)) / len(held_out)
    assert 0.65 < right < 0.95


def test_every_label_and_every_default_topic_is_there(rows):
    names = {topic.name for topic in read_topics(DEFAULT)}
    for side in ("train", "held_out"):
        assert set(Counter(row["sentiment"] for row in rows[side])) == {"negative", "neutral", "positive"}
        assert {topic for row in rows[side] for topic in row["topics"].split("|") if topic} == names
    assert (
        len(read_rows(HERE / "train.csv", required=("text", "sentiment"), optional=("topics",)).rows) == 1_800
    )


def test_the_stream_has_its_size_its_days_and_its_rhythm(items):
    times = [parse_time(item["ts"])[0] for item in items]
    assert len(items) >= 3_000
    assert len({moment.date() for moment in times}) == 21
    assert len({item["id"] for item in items}) == len(items)
    assert len({item["source"] for item in items}) == 6
    weekdays = sum(moment.weekday() < 5 for moment in times) / 15
    weekends = sum(moment.weekday() >= 5 for moment in times) / 6
    assert 0.25 < weekends / weekdays < 0.6
    night, day = (sum(a <= moment.hour < b for moment in times) for a, b in ((0, 4), (8, 12)))
    assert night < 0.3 * day
    late = sum(a > b for a, b in itertools.pairwise(times))
    assert 20 < late < 0.2 * len(items)
    assert max(times) < datetime(2026, 3, 23, tzinfo=UTC)


def test_the_truth_belongs_to_the_stream(rows, items):
    assert [row["id"] for row in rows["stream_truth"]] == [item["id"] for item in items]


def test_clauses_are_distinct_over_sides_and_feelings():
    every = [
        clause
        for topic in phrases.TOPICS.values()
        for feeling in topic.values()
        for side in feeling.values()
        for clause in side
    ]
    assert len(every) > 300
    assert len(set(every)) == len(every)


def test_the_files_stay_small():
    assert sum(path.stat().st_size for path in HERE.iterdir() if path.is_file()) < 1_500_000
