from datetime import timedelta

import pytest

from services.recommender.events import Like
from services.recommender.popularity import popular_at
from services.recommender.store import (
    acts_of,
    add_events,
    catalogue_rows,
    items_page,
    ledger,
    popularity_of,
    to_document,
    to_item,
    users_page,
)


@pytest.fixture
def db(tmp_path, request, open_at, database_url):
    url = None if database_url.startswith("sqlite") else database_url
    with open_at(tmp_path / "home", url) as shop:
        yield shop.db


def test_an_item_comes_back_as_it_was(db, shop_items):
    with db.write() as session:
        assert ledger().upsert(session, [to_document(item) for item in shop_items.values()]) == 8
        assert ledger().upsert(session, [to_document(shop_items["bread"])]) == 0
    rows, head = catalogue_rows(db)
    assert {row.id: to_item(row) for row in rows} == shop_items
    assert head == 8


def test_an_event_sent_twice_is_stored_once(db, act, now):
    events = [act("u", "a"), act("u", "a"), act("u", "a", "view"), act("u", "a", days=1)]
    with db.write() as session:
        assert add_events(session, events, now) == 3
        assert add_events(session, events, now) == 0
        assert add_events(session, [act("u", "b"), act("u", "c")], now, ["e1", "e1"]) == 1


def test_a_history_is_the_newest_events_up_to_a_time(db, act, now):
    events = [act("u", f"i{day}", days=day) for day in range(-1, 4)]
    with db.write() as session:
        add_events(session, [*events, act("v", "x")], now)
    with db.read() as session:
        assert [a.item_id for a in acts_of(session, "u", now)] == ["i0", "i1", "i2", "i3"]
        assert [a.item_id for a in acts_of(session, "u", now, limit=2)] == ["i0", "i1"]
        assert acts_of(session, "u", now)[0] == act("u", "i0")
        assert acts_of(session, "nobody", now) == []


@pytest.mark.parametrize("rule", [None, "value>=4", "value!=3"])
@pytest.mark.parametrize("days", [2, 30])
def test_the_database_counts_what_is_popular_as_the_flow_does(db, act, now, rule, days):
    events = [
        act("u", "a", value=5),
        act("v", "a", days=1, value=2),
        act("v", "b", days=1, value=3),
        act("u", "b", days=20),
        act("u", "c", "view", days=0.5),
        act("w", "d", days=-3),
    ]
    with db.write() as session:
        add_events(session, events, now)
    like, window = Like.parse(rule) if rule else None, timedelta(days=days)
    with db.read() as session:
        assert popularity_of(session, now, like, window) == popular_at(events, now, like=like, window=window)


def test_where_nothing_was_chosen_all_events_count(db, act, now):
    with db.write() as session:
        add_events(session, [act("u", "a", "view"), act("v", "a", "click")], now)
    with db.read() as session:
        assert popularity_of(session, now, None, timedelta(days=9)).counts == {"a": 2}


def test_pages_of_users_and_items(db, act, now, shop_items):
    with db.write() as session:
        ledger().upsert(session, [to_document(item) for item in shop_items.values()])
        add_events(session, [act("ann", "a", days=2), act("ann", "b"), act("ben_50%", "a", days=1)], now)
    with db.read() as session:
        assert users_page(session, "", 9, None) == [("ann", 2, now), ("ben_50%", 1, now - timedelta(days=1))]
        assert [row[0] for row in users_page(session, "ann", 9, None)] == ["ben_50%"]
        assert [row[0] for row in users_page(session, "", 9, "50%")] == ["ben_50%"]
        assert users_page(session, "", 9, "%") == users_page(session, "", 9, "50%")
        assert [row.id for row in items_page(session, "", 3, None)] == ["bread", "cup", "flour"]
        assert [row.id for row in items_page(session, "flour", 9, "TENT")] == ["tent"]
