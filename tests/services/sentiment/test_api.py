"""The API through its own client."""

import subprocess
import sys
from datetime import timedelta

import pytest

from services.sentiment.store import AlertRow
from shared.errors import BadInput, Denied, NotFound, Unauthenticated

VIEWER = "sentiment:viewer"


@pytest.fixture
def fed(desk, now):
    """A desk with ten days of news, two sources, and a late surge."""
    for day in range(10):
        for hour in range(0, 24, 3):
            ts = now - timedelta(days=10 - day, hours=-hour)
            desk.add(f"q{day}-{hour:02}", ts, "bad bank" if hour == 9 else "bank")
    for number in range(20):
        desk.add(f"bad{number:02}", now - timedelta(minutes=130 - 5 * number), "bad bank", source="paper")
    desk.add("broken", "never", "bank")
    desk.work()
    return desk


def test_items_come_newest_first_in_pages_that_miss_and_repeat_nothing(fed):
    client = fed.client(VIEWER)
    seen, cursor, pages = [], None, 0
    while pages == 0 or cursor:
        page = client.items(limit=30, next=cursor)
        seen += page.items
        cursor, pages = page.next, pages + 1
    assert pages == 4
    assert len({item.id for item in seen}) == len(seen) == 100
    assert [(item.ts, item.id) for item in seen] == sorted(((i.ts, i.id) for i in seen), reverse=True)
    first = seen[0]
    assert (first.sentiment.label, first.topics, first.source) == ("negative", ["banks"], "paper")
    assert sum(first.sentiment.probabilities.values()) == pytest.approx(1.0)
    assert first.model == "sentiment@1"


def test_items_of_a_topic_and_of_a_time(fed, now):
    client = fed.client(VIEWER)
    assert client.items(topic="ships").items == []
    start, end = now - timedelta(days=2), now - timedelta(days=1)
    found = client.items(topic="banks", start=start, end=end, limit=5)
    assert len(found.items) == 5
    rest = client.items(topic="banks", start=start, end=end, limit=5, next=found.next)
    times = [item.ts for item in (*found.items, *rest.items)]
    assert len(times) == 8
    assert all(start <= ts < end for ts in times)
    assert client.items(topic="all", start=start, end=end).items == client.items(start=start, end=end).items
    assert client.items(entity="Veltro").items == []


def test_a_series_has_its_windows_up_to_the_present_of_the_stream(fed, now):
    client = fed.client(VIEWER)
    series = client.series("banks")
    assert (series.window, series.step, series.state) == (60, 15, "ready")
    present = client.health().now
    assert series.points[-1].end == present
    assert series.points[0].end > present - timedelta(days=1)
    peak = max(series.points, key=lambda point: point.negative)
    assert peak.negative == 12
    assert 0 < peak.expected < 2
    day = client.series("banks", window=240, start=now - timedelta(days=3), end=now)
    assert day.step == 60
    assert max(point.negative for point in day.points) == 20
    # What is expected of four hours is four times what is expected of one.
    hourly = {
        point.end: point.expected for point in client.series("banks", start=now - timedelta(hours=6)).points
    }
    shared = [p for p in day.points if p.end in hourly and p.expected is not None]
    assert shared
    assert all(point.expected == pytest.approx(4 * hourly[point.end], abs=0.01) for point in shared)


def test_a_series_without_history_is_learning(fed):
    assert fed.client(VIEWER).series("ships").state == "learning"
    assert {point.expected for point in fed.client(VIEWER).series("ships").points} == {None}


@pytest.mark.parametrize(
    ("call", "error", "why"),
    [
        (lambda c, now: c.series("nope"), NotFound, "GET /v1/topics"),
        (lambda c, now: c.series(window=50), BadInput, "multiple of 15"),
        (lambda c, now: c.series(start=now - timedelta(days=400)), BadInput, "at most 2000"),
        (lambda c, now: c.series(start=now, end=now - timedelta(days=1)), BadInput, "earlier from"),
        (lambda c, now: c.items(next="what?"), BadInput, "no cursor"),
        (lambda c, now: c.items(topic="a\x00b"), BadInput, "NUL"),
        (lambda c, now: c.items(limit=0), BadInput, "limit"),
        (lambda c, now: c.get("/v1/items", params={"from": "yesterday"}), BadInput, "no time"),
        (lambda c, now: c.get("/v1/alerts", params={"state": "loud"}), BadInput, "state"),
    ],
)
def test_a_wrong_request_is_told_what_is_allowed(fed, now, call, error, why):
    with pytest.raises(error, match=why):
        call(fed.client(VIEWER), now)


def test_alerts_with_their_reasons(fed):
    client = fed.client(VIEWER)
    (alert,) = client.alerts().alerts
    # The stream ended and the last windows were emptier: calm, but not for long enough.
    assert (alert.series, alert.kind, alert.state) == ("banks", "topic", "recovering")
    assert alert.why.negative > 4 * alert.why.expected
    assert str(alert.why.negative) in alert.why.text
    assert alert.why.headlines[0].title == "bad bank"
    assert alert.peak == 12
    assert client.alerts(state="recovering").alerts == [alert]
    assert client.alerts(state="resolved").alerts == []


def test_alerts_page_too(fed, now):
    with fed.db.write() as session:
        (row,) = session.query(AlertRow)
        for number in range(5):
            copy = {c.key: getattr(row, c.key) for c in AlertRow.__table__.columns}
            session.add(AlertRow(**{**copy, "id": f"x{number}"}))
    client = fed.client(VIEWER)
    first = client.alerts(limit=4)
    second = client.alerts(limit=4, next=first.next)
    assert second.next is None
    assert len({alert.id for alert in (*first.alerts, *second.alerts)}) == 6


def test_topics_are_those_of_the_bundle_and_those_counted(fed):
    topics = fed.client(VIEWER).topics().topics
    assert [(one.name, one.state, one.count) for one in topics] == [
        ("all", "ready", 100),
        ("banks", "ready", 100),
        ("ships", "learning", 0),
    ]
    assert topics[1].keywords == ["bank*", "loan*"]


def test_health_says_what_the_stream_does(fed, now):
    health = fed.client(VIEWER).health()
    assert (health.items, health.dead_letters, health.late, health.too_late) == (100, 1, 0, 0)
    assert health.model == "sentiment@1"
    assert health.worker == "stopped"
    assert [(feed.source, feed.count, feed.state) for feed in health.feeds] == [
        ("paper", 20, "live"),
        ("wire", 80, "live"),
    ]
    fed.handler().tick(fed.clock.now())
    assert fed.client(VIEWER).health().worker == "alive"


def test_a_source_that_fell_silent_is_quiet(fed, now):
    fed.clock.forward(days=6)
    fed.add("later", now + timedelta(days=5), "bank", source="paper")
    fed.work()
    states = {feed.source: feed.state for feed in fed.client(VIEWER).health().feeds}
    assert states["wire"] == "quiet"


def test_before_the_first_item_everything_is_empty(desk):
    client = desk.client(VIEWER)
    health = client.health()
    assert (health.now, health.items, health.feeds) == (None, 0, [])
    assert client.items().items == client.alerts().alerts == []
    assert {one.state for one in client.topics().topics} == {"learning"}
    assert all(point.count == 0 for point in client.series().points)


def test_who_may_look(desk):
    with pytest.raises(Unauthenticated):
        desk.client().__class__("http://test", http=desk.http).health()
    with pytest.raises(Denied, match="sentiment:viewer"):
        desk.client("support:agent").health()
    assert desk.client("sentiment:admin").health().items == 0


def test_without_a_bundle_it_starts_and_says_what_to_run(open_desk, tmp_path):
    desk = open_desk()
    assert desk.http.get("/readyz").status_code == 200
    for path in (desk.settings.home / "artifacts" / ".live").glob("*.json"):
        path.unlink()
    fresh = type(desk)(tmp_path / "fresh").__enter__()
    answer = fresh.http.get("/readyz")
    assert answer.status_code == 503
    assert "trillium train sentiment" in answer.json()["detail"]
    fresh.__exit__(None, None, None)


def test_the_service_loads_no_torch():
    code = "import sys, services.sentiment.api, services.sentiment.worker; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


def test_what_arrived_is_what_drift_looks_at(fed):
    found = fed.client(VIEWER).drift()
    assert (found["live"], found["current"], found["figures"]) == ("sentiment@1", 100, [])
    with pytest.raises(Denied):
        fed.client().drift()
