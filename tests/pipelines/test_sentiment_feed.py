"""Reading a dated file and putting it into Kafka."""

import gzip
import json

import pytest

from pipelines.monitoring.feeding import feed, keep_aside, read_stream, record_of, seconds_of
from shared.errors import BadInput, NotFound, TooLarge, Unavailable, UsageError
from shared.settings import load_settings
from shared.stream.broker import EmbeddedBroker
from shared.stream.subscription import Subscription

ROWS = [
    {"id": "a", "ts": "2026-03-02T10:00:00Z", "title": "One", "source": "wire", "more": 1},
    {"id": "b", "ts": "never", "title": "Two"},
    {"id": "c", "ts": "2026-03-02T10:30:00", "title": "Three", "text": ""},
]


def write(tmp_path, name, content):
    path = tmp_path / name
    if name.endswith(".gz"):
        content = gzip.compress(content if isinstance(content, bytes) else content.encode())
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


LINES = "".join(json.dumps(row) + "\n" for row in ROWS)
CSV = "id,ts,title\na,2026-03-02T10:00:00Z,One\nb,never,Two\nc,2026-03-02T10:30:00,Three\n"


@pytest.mark.parametrize(
    ("name", "content"),
    [("s.jsonl", LINES), ("s.jsonl.gz", LINES), ("s.csv", CSV), ("s.csv.gz", CSV), ("s.csv", "\ufeff" + CSV)],
)
def test_every_kind_of_file_gives_its_rows_in_order(tmp_path, name, content):
    found = list(read_stream(write(tmp_path, name, content)))
    assert [row["title"] for _, row, _ in found] == ["One", "Two", "Three"]


def test_a_line_that_is_no_object_is_told_with_its_number(tmp_path):
    text = '{"id": 1}\nnot json\n\n[1, 2]\n' + '"' + "x" * 6_000_000 + '"\n{"id": 2}\n'
    found = list(read_stream(write(tmp_path, "s.jsonl", text)))
    assert [(line, row is None) for line, row, _ in found] == [
        (1, False), (2, True), (4, True), (5, True), (6, False)
    ]  # fmt: skip
    assert [why.split(":")[0] for _, row, why in found if row is None] == [
        "no JSON",
        "a JSON list, no object",
        "the line is longer than 5,000,000 characters",
    ]


@pytest.mark.parametrize(
    ("name", "content", "error", "why"),
    [
        ("s.jsonl", "", BadInput, "no rows"),
        ("s.csv", "", BadInput, "no rows"),
        ("s.csv", "when,what\n1,2\n", BadInput, "needs id, ts"),
        ("s.jsonl", b'{"id": "\xe9"}\n', BadInput, "not UTF-8"),
        ("s.xlsx", "x", BadInput, "no .jsonl or .csv"),
        ("s.jsonl.gz", LINES, None, ""),
    ],
)
def test_a_file_that_can_not_be_used_is_refused(tmp_path, name, content, error, why):
    path = write(tmp_path, name, content)
    if error is None:
        path.write_bytes(path.read_bytes()[:-20])
        error, why = BadInput, "no whole gzip"
    with pytest.raises(error, match=why):
        list(read_stream(path))


def test_a_missing_file_is_not_found(tmp_path):
    with pytest.raises(NotFound):
        list(read_stream(tmp_path / "none.jsonl"))


def test_a_record_holds_our_fields_only_and_has_a_key():
    assert record_of(ROWS[0], 1) == (
        "a",
        {"id": "a", "ts": "2026-03-02T10:00:00Z", "title": "One", "source": "wire"},
    )
    assert record_of({"title": "no id"}, 7)[0] == "line-7"
    with pytest.raises(BadInput, match="NUL"):
        record_of({"id": "a", "title": "a\x00b"}, 1)
    with pytest.raises(TooLarge):
        record_of({"id": "a", "title": "x" * 1_100_000}, 1)


@pytest.mark.parametrize(("text", "times"), [("max", 0.0), ("60x", 60.0), ("0.5x", 0.5)])
def test_speeds(text, times):
    assert seconds_of(text) == times


@pytest.mark.parametrize("text", ["60", "fast", "0x", "-1x", "nanx", "infx", ""])
def test_other_speeds_are_refused(text):
    with pytest.raises(UsageError, match="60x"):
        seconds_of(text)


def test_without_a_broker_nothing_is_sent(tmp_path):
    with pytest.raises(Unavailable, match="TRILLIUM_KAFKA__BOOTSTRAP"):
        feed(load_settings({"home": str(tmp_path)}, env={}), write(tmp_path, "s.jsonl", LINES))


def settings_at(bootstrap, tmp_path):
    return load_settings({"home": str(tmp_path), "kafka": {"bootstrap": bootstrap}}, env={})


def test_rows_go_into_kafka_and_what_is_none_is_kept_aside(tmp_path):
    path = write(tmp_path, "s.jsonl", LINES + "broken\n")
    with EmbeddedBroker() as broker:
        settings = settings_at(broker.bootstrap, tmp_path)
        fed = feed(settings, path)
        assert (fed.sent, fed.naive, len(fed.rejected)) == (3, 1, 1)
        kept = keep_aside(fed, path, tmp_path)
        assert json.loads(kept.read_text())["line"] == 4
        with Subscription(broker.bootstrap, "test", ["sentiment.items"]) as subscription:
            ends = subscription.end_offsets(subscription.partitions())
        assert sum(ends.values()) == 3


def test_a_paced_feed_waits_as_the_stream_did(tmp_path):
    waits, now = [], [0.0]

    def wait(seconds):
        waits.append(round(seconds, 3))
        now[0] += seconds

    with EmbeddedBroker() as broker:
        feed(
            settings_at(broker.bootstrap, tmp_path),
            write(tmp_path, "s.jsonl", LINES),
            times=60.0,
            wait=wait,
            monotonic=lambda: now[0],
        )
    assert waits == [30.0]  # half an hour, sixty times as fast; a row without a time waits for nothing


def test_a_file_that_would_not_fit_the_embedded_broker_is_refused_before_the_first_row(tmp_path):
    rows = [{"id": f"i{n}", "ts": "2026-03-02", "title": "t", "text": "x" * 20_000} for n in range(1_200)]
    path = write(tmp_path, "s.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    with EmbeddedBroker() as broker:
        with pytest.raises(TooLarge, match="real broker"):
            feed(settings_at(broker.bootstrap, tmp_path), path)
        with Subscription(broker.bootstrap, "test", ["sentiment.items"]) as subscription:
            ends = subscription.end_offsets(subscription.partitions())
        assert sum(ends.values()) == 0
