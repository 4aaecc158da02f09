"""Series side by side, step by step; and the example stream with its true labels."""

import csv
import json
from pathlib import Path

import pytest

import pipelines.samples.sentiment
from services.sentiment.alerts import Change
from services.sentiment.domain import ALL, Counts, Phase, Reason, State
from services.sentiment.evaluate import Board, Evaluation
from services.sentiment.surge import Rules
from services.sentiment.windows import DAY, HOUR, bucket_of, to_time
from shared.clock import parse_time

RULES = Rules()
MONDAY = 4 * DAY
SAMPLES = Path(pipelines.samples.sentiment.__file__).parent


def quiet_weeks(board, series=("banks", "ships"), days=14, every=4):
    """Fill days with one item every few hours in each series, one of three negative."""
    for day in range(days):
        for number, hour in enumerate(range(0, 24, every)):
            start = MONDAY + day * DAY + hour * HOUR
            for name in series:
                counts = Counts(1, int(number % 3 == 0))
                board.add(name, start, counts)
                board.add(ALL, start, counts)


def burst(board, series, start, negative=8, items=8):
    for part in range(4):
        for name in (series, ALL):
            board.add(name, start + part * 900, Counts(items // 4, negative // 4))


def changes(evaluation, until):
    return [
        (one.series, str(one.event.change), one.end)
        for one in evaluation.run(0, until)
        if one.event and one.event.change is not Change.UPDATED
    ]


def test_a_burst_in_one_series_opens_its_alert_and_not_that_of_all():
    board = Board()
    quiet_weeks(board)
    start = MONDAY + 14 * DAY + 9 * HOUR
    burst(board, "banks", start)
    board.add(ALL, start + 5 * HOUR, Counts(1))
    found = changes(Evaluation(board, {}, RULES), start + DAY)
    assert [(series, change) for series, change, _ in found] == [("banks", "opened")]


def test_a_burst_without_a_topic_is_an_alert_of_all():
    board = Board()
    quiet_weeks(board)
    start = MONDAY + 14 * DAY + 9 * HOUR
    burst(board, ALL, start, negative=16, items=20)
    assert [c[:2] for c in changes(Evaluation(board, {}, RULES), start + HOUR)] == [(ALL, "opened")]


def test_a_burst_in_the_first_days_is_only_learned_from():
    board = Board()
    quiet_weeks(board, days=5)
    burst(board, "banks", MONDAY + 5 * DAY + 9 * HOUR)
    judged = list(Evaluation(board, {}, RULES).run(0, MONDAY + 6 * DAY))
    assert {one.verdict.reason for one in judged} == {Reason.LEARNING}


def test_holes_in_the_stream_are_no_zeros():
    board = Board()
    for day in (0, 1, 2, 3, 60, 61, 62, 63, 64):
        board.add(ALL, MONDAY + day * DAY + 9 * HOUR, Counts(12, 4))
    evaluation = Evaluation(board, {}, RULES)
    known = evaluation.usual(ALL, MONDAY + 64 * DAY + 10 * HOUR)
    weekday_nine = known.rates[((64 % 7) * 24) + 9]
    assert weekday_nine > 3


def test_what_is_usual_is_frozen_while_an_alert_is_open():
    board = Board()
    quiet_weeks(board)
    start = MONDAY + 14 * DAY + 9 * HOUR
    for day in range(3):
        burst(board, "banks", start + day * DAY, negative=40, items=44)
    opened = State(phase=Phase.OPEN, since=start, last=start)
    later = start + 3 * DAY
    frozen = Evaluation(board, {"banks": opened}, RULES).usual("banks", later)
    free = Evaluation(board, {}, RULES).usual("banks", later)
    assert max(free.rates) > 3 * max(frozen.rates)


def test_going_on_from_a_state_gives_what_one_run_gives():
    board = Board()
    quiet_weeks(board)
    start = MONDAY + 14 * DAY + 9 * HOUR
    burst(board, "banks", start)
    whole = Evaluation(board, {}, RULES)
    judged = [(one.series, one.end, one.state) for one in whole.run(0, start + 2 * HOUR)]
    parts, states, closed = [], {}, 0
    for until in (start - HOUR, start + 900, start + 1_800, start + 2 * HOUR):
        part = Evaluation(board, states, RULES)
        parts += [(one.series, one.end, one.state) for one in part.run(closed, until)]
        states, closed = part.states, until
    assert parts == judged


@pytest.fixture(scope="module")
def sample():
    """The example stream with its true labels, as a board."""
    board = Board()
    with (SAMPLES / "stream_truth.csv").open(encoding="utf-8", newline="") as file:
        truth = {row["id"]: row for row in csv.DictReader(file)}
    for line in (SAMPLES / "stream.jsonl").read_text("utf-8").splitlines():
        row = json.loads(line)
        true = truth[row["id"]]
        start = bucket_of(parse_time(row["ts"])[0], RULES.step)
        counts = Counts(1, int(true["sentiment"] == "negative"), int(true["sentiment"] == "positive"))
        for series in (ALL, *filter(None, true["topics"].split("|"))):
            board.add(series, start, counts)
    return board


def test_the_planted_surge_is_alerted_and_neither_the_decoy_nor_anything_else(sample):
    last = max(sample.buckets[ALL]) + HOUR
    found = changes(Evaluation(sample, {}, RULES), last)
    assert [(series, change) for series, change, _ in found] == [
        ("cyber incident", "opened"),
        ("cyber incident", "resolved"),
    ]
    opened = to_time(found[0][2])
    assert opened.isoformat()[:13] in ("2026-03-18T12", "2026-03-18T13")


def test_the_decoy_is_as_large_as_the_surge(sample):
    sums = {}
    for series, day in (("cyber incident", "2026-03-18T12:00"), ("mergers", "2026-03-16T09:00")):
        start = int(parse_time(day)[0].timestamp())
        sums[series] = [
            sum(
                getattr(counts, name)
                for at, counts in sample.buckets[series].items()
                if start <= at < start + 5 * HOUR
            )
            for name in ("count", "negative", "positive")
        ]
    (surge, bad, _), (decoy, _, good) = sums["cyber incident"], sums["mergers"]
    assert abs(surge - decoy) < 0.25 * surge
    assert bad > 0.6 * surge
    assert good > 0.6 * decoy
