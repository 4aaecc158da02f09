"""From records to counts and alerts, on both databases: each item counts once, whatever happens."""

import random
from collections import Counter
from datetime import timedelta

import pytest
from sqlalchemy import select

from services.sentiment.counting import totals
from services.sentiment.evaluator import close_windows
from services.sentiment.store import (
    TABLES,
    AlertRow,
    Base,
    BucketRow,
    EvaluatorRow,
    FeedRow,
    ItemRow,
    NoticeRow,
    SeriesRow,
    TopicRow,
)
from services.sentiment.worker import ItemHandler
from shared.errors import Unavailable
from shared.testing.schema import assert_models_match_migrations


def rows(desk, model):
    with desk.db.read() as session:
        return list(session.scalars(select(model)))


def sums(desk):
    with desk.db.read() as session:
        return {series: (count, negative) for series, (count, negative, _) in totals(session).items()}


def evaluator(desk):
    (row,) = rows(desk, EvaluatorRow)
    return row


def test_the_revisions_make_the_tables_of_the_code(database_url):
    assert_models_match_migrations(database_url, "sentiment", Base.metadata)


def test_an_item_counts_in_all_and_in_its_topics(either_desk, now):
    either_desk.add("a", now, "bad loans at the port", text="More.", url="https://x.example/a")
    either_desk.add("b", now, "good bank")
    either_desk.add("c", now + timedelta(minutes=-20), "weather")
    counters = either_desk.work()
    assert (counters.processed, counters.dead) == (3, 0)
    assert sums(either_desk) == {"all": (3, 1), "banks": (2, 1), "ships": (1, 1)}
    item = next(row for row in rows(either_desk, ItemRow) if row.id == "a")
    assert (item.label, item.topics, item.model, item.late) == (
        "negative",
        ["banks", "ships"],
        "sentiment@1",
        False,
    )
    assert item.probabilities == pytest.approx({"negative": 0.9, "neutral": 0.05, "positive": 0.05})
    (feed,) = rows(either_desk, FeedRow)
    assert (feed.source, feed.count, feed.last) == ("wire", 3, now)


def test_the_same_item_again_is_a_duplicate_and_another_text_a_correction(either_desk, now):
    either_desk.add("a", now, "bad bank")
    either_desk.add("a", now, "bad bank")
    either_desk.add("a", now - timedelta(hours=1), "good ship")
    either_desk.work()
    either_desk.add("a", now - timedelta(hours=1), "good ship")
    either_desk.work()
    row = evaluator(either_desk)
    assert (row.items, row.duplicates, row.corrections, row.late) == (1, 2, 1, 0)
    assert {series: found for series, found in sums(either_desk).items() if found != (0, 0)} == {
        "all": (1, 0),
        "ships": (1, 0),
    }
    assert [(topic.topic, topic.ts) for topic in rows(either_desk, TopicRow)] == [
        ("ships", now - timedelta(hours=1))
    ]
    assert all(
        bucket.count in (0, 1) and bucket.positive in (0, 1) for bucket in rows(either_desk, BucketRow)
    )


def test_a_late_item_changes_its_closed_window_and_is_counted_late(either_desk, now):
    either_desk.add("a", now - timedelta(hours=5), "bank")
    either_desk.add("b", now, "bank")
    either_desk.work()
    assert evaluator(either_desk).closed >= (now - timedelta(hours=1)).timestamp()
    either_desk.add("c", now - timedelta(hours=4), "bad bank")
    either_desk.work()
    assert (evaluator(either_desk).late, sums(either_desk)["banks"]) == (1, (3, 1))
    assert [row.id for row in rows(either_desk, ItemRow) if row.late] == ["c"]


def test_what_is_older_than_the_horizon_is_kept_aside_and_not_counted(either_desk, now):
    either_desk.add("b", now, "bank")
    either_desk.work()
    either_desk.add("old", now - timedelta(hours=80), "bad bank")
    either_desk.work()
    row = evaluator(either_desk)
    assert (row.items, row.late, row.too_late) == (1, 0, 1)
    (letter,) = rows(either_desk, TABLES.dead_letters)
    assert (letter.key, letter.value is not None) == ("old", True)
    assert "more than 72 hours behind" in letter.why


def test_broken_records_become_dead_letters_with_their_reason(either_desk, now):
    either_desk.add("a", now, "bank")
    either_desk.add("b", "26-FEB-1987 15:01:01.79", "bank")
    either_desk.add("c", now + timedelta(days=30), "bank")
    either_desk.log.append(b"\xff\xfe", "d")
    either_desk.log.append(None, "e")
    counters = either_desk.work()
    assert (counters.processed, counters.dead) == (1, 4)
    reasons = [letter.why for letter in rows(either_desk, TABLES.dead_letters)]
    for why in ("no time", "a day ahead", "no UTF-8", "no value"):
        assert sum(why in reason for reason in reasons) == 1


class Crash(Exception):
    """The process ends here."""


class Crashing(ItemHandler):
    """Ends in its `at`-th write, before the commit: what it wrote is undone."""

    at, writes = 2, 0

    def write(self, session, prepared):
        super().write(session, prepared)
        self.writes += 1
        if self.writes == self.at:
            raise Crash


@pytest.mark.parametrize("at", [1, 2, 3])
def test_a_crash_in_the_middle_of_a_batch_counts_nothing_twice_and_loses_nothing(either_desk, now, at):
    for number in range(12):
        either_desk.add(f"i{number}", now - timedelta(minutes=number), "bad bank")
    handler = either_desk.handler(Crashing)
    handler.at = at
    with pytest.raises(Crash):
        either_desk.work(handler, max_records=4)
    assert sums(either_desk).get("all", (0, 0))[0] == 4 * (at - 1)
    either_desk.work(max_records=4)
    assert (sums(either_desk)["banks"], evaluator(either_desk).duplicates) == ((12, 12), 0)


def test_records_that_are_read_again_from_the_start_are_duplicates(desk, now):
    for number in range(5):
        desk.add(f"i{number}", now, "bad bank")
    desk.work()
    before = sums(desk)
    with desk.db.write() as session:  # an embedded broker that was started anew and fed again
        for row in session.scalars(select(TABLES.offsets)):
            session.delete(row)
    desk.work()
    assert (sums(desk), evaluator(desk).duplicates) == (before, 5)


def month(desk, now, *, partitions=1, bad_from=None, bad=24, seed=3, shuffle=0.0, late=()):
    """Append 15 days of quiet news and, from `bad_from` hours before the end, bad news of banks.

    `shuffle` delays arrivals by up to so many minutes; `late` ids come last.
    """
    rng = random.Random(seed)
    items = []
    for day in range(15):
        for hour in range(0, 24, 2):
            ts = now - timedelta(days=15 - day, hours=-hour, minutes=rng.randint(0, 59))
            title = rng.choice(
                ["bad bank", "bank", "good bank", "ship", "good ship", "bad ship", "weather", "port"]
            )
            items.append((f"q{day}-{hour}", min(ts, now), title))
    if bad_from is not None:
        start = now - timedelta(hours=bad_from)
        items += [
            (f"bad{number}", start + timedelta(minutes=5 * number), "bad bank" if number % 8 else "bank")
            for number in range(bad)
        ]
    rng = random.Random(seed)
    arrivals = [(ts + timedelta(minutes=rng.random() * shuffle), id_, ts, title) for id_, ts, title in items]
    for _, id_, ts, title in sorted(arrivals, key=lambda one: (one[1] in late, one[0], one[1])):
        desk.add(id_, ts, title, partition=hash_of(id_) % partitions)


def hash_of(text):
    return sum(map(ord, text))


def alerts(desk):
    return sorted(
        (row.id, row.series, row.state, row.opened, row.resolved, row.peak) for row in rows(desk, AlertRow)
    )


def test_a_surge_opens_one_alert_with_its_reason_and_a_notice(either_desk, now):
    month(either_desk, now, bad_from=3)
    either_desk.work()
    (alert,) = rows(either_desk, AlertRow)
    assert (alert.series, alert.kind, alert.model) == ("banks", "topic", "sentiment@1")
    assert now - timedelta(hours=3) < alert.opened < now - timedelta(hours=1, minutes=30)
    why = alert.why
    assert why["negative"] >= 4
    assert why["expected"] < 1
    assert why["p"] == min(why["p_count"], why["p_share"]) < 1e-3
    assert len(why["headlines"]) == 5
    assert all("bad bank" in one["title"] for one in why["headlines"])
    notices = rows(either_desk, NoticeRow)
    assert next(notice.change for notice in notices) == "opened"
    assert all(notice.sent for notice in notices)
    assert next((topic, value["series"], value["change"]) for topic, _, value in either_desk.sent) == (
        "sentiment.alerts",
        "banks",
        "opened",
    )
    states = {row.name: row.learning for row in rows(either_desk, SeriesRow)}
    assert states == {"all": False, "banks": False, "ships": False}


def test_a_quiet_month_alerts_nothing(desk, now):
    month(desk, now)
    desk.work()
    assert alerts(desk) == []


@pytest.mark.parametrize("seed", range(3))
def test_neither_the_order_of_arrival_within_the_grace_nor_batches_nor_partitions_change_the_alerts(
    open_desk, now, seed
):
    plain, shaken = open_desk(), open_desk(partitions=3)
    month(plain, now, bad_from=30)
    month(shaken, now, bad_from=30, partitions=3, shuffle=25, seed=3)
    plain.work()
    shaken.work(max_records=5 + 20 * seed)
    assert alerts(plain) == alerts(shaken) != []
    assert (evaluator(shaken).late, evaluator(plain).late) == (0, 0)


def test_going_on_after_stops_gives_the_same_alerts(open_desk, now):
    whole, pieces = open_desk(), open_desk()
    for desk in (whole, pieces):
        month(desk, now, bad_from=30)
    whole.work()
    for at in (2, 3, 2):
        handler = pieces.handler(Crashing)
        handler.at = at
        with pytest.raises(Crash):
            pieces.work(handler, max_records=30)
        pieces.clock.forward(seconds=5)
    pieces.work()
    assert alerts(whole) == alerts(pieces) != []


def test_closing_the_same_windows_again_gives_the_same_alerts_and_notices(desk, now):
    month(desk, now, bad_from=30)
    desk.work()
    first, notices = alerts(desk), len(rows(desk, NoticeRow))
    with desk.db.write() as session:
        row = session.scalars(select(EvaluatorRow)).one()
        until, row.closed = row.watermark, 0
        for series in session.scalars(select(SeriesRow)):
            session.delete(series)
        session.flush()
        close_windows(session, until, desk.app.rules, model="sentiment@1")
    assert alerts(desk) == first
    assert len(rows(desk, NoticeRow)) == notices


def test_late_items_can_not_undo_an_alert_but_count(desk, now):
    month(desk, now, bad_from=30, late=("bad3", "bad4"))
    desk.work(max_records=50)
    assert len(alerts(desk)) == 1
    assert evaluator(desk).late == 2


def test_partitions_that_are_read_at_different_speeds_make_nothing_late(open_desk, now):
    desk = open_desk(partitions=2)
    for day in range(10):
        for hour in range(0, 24, 3):
            ts = now - timedelta(days=10 - day, hours=-hour)
            desk.add(f"a{day}-{hour}", ts, "bank", partition=0)
            if hour % 6 == 0:
                desk.add(f"b{day}-{hour}", ts, "ship", partition=1)
    desk.work(max_records=7)
    row = evaluator(desk)
    assert (row.items, row.late, row.too_late) == (120, 0, 0)


def test_a_silent_partition_holds_the_present_back_only_while_it_may_have_something(open_desk, now):
    desk = open_desk(partitions=2, idle_s=30)
    first, second = sorted(desk.log.records)
    handler = desk.handler()
    records = [desk.add(f"a{hour}", now - timedelta(hours=hour), "bank") for hour in (3, 2, 1)]
    read(desk, handler, first, records)
    handler.tick(desk.clock.now())
    # The other partition was never read, and nothing lies there: it holds nothing back.
    assert evaluator(desk).watermark == now - timedelta(hours=1, minutes=30)
    waiting = [desk.add(f"b{hour}", now - timedelta(hours=hour), "ship", partition=1) for hour in (5, 4)]
    more = [desk.add("c", now - timedelta(minutes=5), "bank")]
    desk.clock.forward(seconds=40)
    read(desk, handler, first, more)
    handler.tick(desk.clock.now())
    # Now something does: the present waits for it, however long it takes.
    assert evaluator(desk).watermark == now - timedelta(hours=1, minutes=30)
    read(desk, handler, second, waiting)
    desk.clock.forward(seconds=40)
    handler.tick(desk.clock.now())
    assert evaluator(desk).watermark == now - timedelta(minutes=35)


def read(desk, handler, partition, records):
    """Take these records through the handler, as the worker loop does."""
    with desk.db.write() as session:
        starts = {partition: records[0].offset}
        TABLES.add_positions(session, desk.log.cluster.id, starts, {}, desk.clock.now())
        handler.write(session, handler.prepare([handler.parse(record) for record in records]))
        TABLES.move(session, desk.log.cluster.id, {partition: records[-1].offset + 1}, desk.clock.now())


def test_another_holder_of_the_lease_does_the_closing(desk, now):
    desk.add("a", now - timedelta(hours=3), "bank")
    desk.handler().tick(desk.clock.now())
    other = ItemHandler(desk.app, desk.log.cluster.id, sorted(desk.log.records), desk.ends, holder="other")
    other.tick(desk.clock.now())
    (lease,) = rows(desk, TABLES.leases)
    assert lease.holder == "me"
    desk.clock.forward(seconds=31)
    other.tick(desk.clock.now())
    (lease,) = rows(desk, TABLES.leases)
    assert lease.holder == "other"
    other.stop()
    assert rows(desk, TABLES.leases) == []


def test_notices_wait_until_their_channel_is_back(desk, now):
    month(desk, now, bad_from=30)
    flushes = []

    def away():
        flushes.append(1)
        raise Unavailable("no broker")

    desk.flush = away
    desk.work()
    assert flushes
    assert {notice.sent for notice in rows(desk, NoticeRow)} == {None}
    desk.flush, desk.sent = (lambda: None), []
    desk.work()
    keys = [key for _, key, _ in desk.sent]
    assert keys == [notice.id for notice in rows(desk, NoticeRow)]
    assert max(Counter(keys).values()) == 1
