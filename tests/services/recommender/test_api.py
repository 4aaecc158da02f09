import threading

import pytest

from services.recommender.contract import Event, ItemWrite
from services.recommender.rank import Weights
from services.recommender.store import SlateRow
from shared.errors import BadInput, Denied, NotFound, Unauthenticated, Unavailable

VIEWER, EDITOR = "recommender:viewer", "recommender:editor"


def ids(answer):
    return [item.item_id for item in answer.items]


def test_a_known_user_is_served_personally_with_reasons(open_shop):
    answer = open_shop.client(VIEWER).recommendations(user="ann", k=3)
    assert answer.served_by == "personal"
    assert answer.model == "recommender@1"
    assert answer.index == "recommender-index@1"
    assert ids(answer)[0] == "flour"
    assert [item.rank for item in answer.items] == [1, 2, 3]
    first = answer.items[0]
    assert (first.title, first.reasons[0].kind, first.reasons[0].item_id) == (
        "Spelt flour",
        "similar_to",
        "bread",
    )
    assert first.parts is None


def test_what_was_bought_is_left_out_unless_repeats_are_shown(open_shop, open_at, tmp_path):
    assert "bread" not in ids(open_shop.client(VIEWER).recommendations(user="ann", k=100))
    open_shop.publish(weights=Weights(repeat=50.0), repeats=True)
    with open_at(tmp_path / "home") as again:
        answer = again.client(VIEWER).recommendations(user="ann", k=1)
    assert answer.model == "recommender@2"
    assert (ids(answer), answer.items[0].source) == (["bread"], "repeat")
    assert answer.items[0].reasons[0].kind == "bought_before"


def test_every_slate_is_full_and_without_hidden_or_doubled_items(open_shop):
    client = open_shop.client(VIEWER)
    for asked in ({"user": "ann"}, {"user": "stranger"}, {"item": "tent"}, {"text": "bread and rain"}):
        found = ids(client.recommendations(**asked, k=100))
        assert len(found) == len(set(found)) >= 6
        assert "secret" not in found


def test_an_unknown_user_gets_what_is_popular(open_shop):
    answer = open_shop.client(VIEWER).recommendations(user="stranger", k=2)
    assert answer.served_by == "popular"
    assert ids(answer)[0] == "tent"
    assert [reason.kind for reason in answer.items[0].reasons] == ["popular"]


def test_an_event_changes_the_very_next_answer(open_shop):
    client = open_shop.client(VIEWER, EDITOR)
    before = client.recommendations(user="new")
    sent = client.send_events([Event(user_id="new", item_id="bread", event="buy")])
    after = client.recommendations(user="new")
    assert (sent.accepted, sent.duplicates, sent.rejected) == (1, 0, [])
    assert (before.served_by, after.served_by) == ("popular", "visit")
    assert ids(after)[0] == "flour"
    assert "bread" not in ids(after)
    open_shop.clock.forward(hours=2)
    assert client.recommendations(user="new").served_by == "personal"


def test_events_are_taken_one_by_one(open_shop):
    client = open_shop.client(EDITOR)
    event = {"user_id": "u", "item_id": "cup", "ts": "2026-04-30T10:00:00Z"}
    sent = client.send_events(
        [
            Event(**event, event="buy"),
            Event(**event, event="stare"),
            Event(**event, event="buy"),
            Event(**event | {"ts": "2031-01-01"}, event="buy"),
            Event(**event, event="view", event_id="e-1"),
            Event(**event | {"item_id": "mat"}, event="view", event_id="e-1"),
        ]
    )
    assert (sent.accepted, sent.duplicates) == (2, 2)
    assert [one.index for one in sent.rejected] == [1, 3]
    assert "stare" in sent.rejected[0].why
    assert sorted(one.event for one in client.history("u").events) == ["buy", "view"]


def test_similar_items_and_a_text(open_shop):
    client = open_shop.client(VIEWER)
    similar = client.recommendations(item="tent", k=2)
    assert similar.served_by == "similar"
    assert set(ids(similar)) == {"mat", "stove"}
    assert {item.reasons[0].item_id for item in similar.items} == {"tent"}
    text = client.recommendations(text="slow bread", k=1)
    assert text.served_by == "similar"
    assert ids(text) == ["bread"]
    assert text.items[0].reasons[0].kind == "text_match"
    assert text.items[0].reasons[0].words == ["slow", "bread"]
    with pytest.raises(NotFound, match="GET /v1/items"):
        client.recommendations(item="nothing")


def test_explain_gives_parts_that_add_up(open_shop):
    for item in open_shop.client(VIEWER).recommendations(user="ann", k=5, explain=True).items:
        assert sum(item.parts.values()) == pytest.approx(item.score, abs=1e-3)


@pytest.mark.parametrize(
    "params",
    [{}, {"user": "a", "item": "b"}, {"user": "a", "text": "b", "item": "c"}, {"user": " "}, {"text": "\x00"},
     {"user": "a", "k": 0}, {"user": "a", "k": 101}],
)  # fmt: skip
def test_exactly_one_question_and_k_within_bounds(open_shop, params):
    with pytest.raises(BadInput):
        open_shop.client(VIEWER).get("/v1/recommendations", params=params)


def test_a_new_item_is_found_by_its_text_at_once_and_gone_at_once(open_shop):
    client = open_shop.client(VIEWER, EDITOR)
    assert "kayak" not in str(client.recommendations(text="paddle a kayak"))
    written = client.put_item(
        "boat/1",
        ItemWrite(
            title="Folding kayak", description="paddle a lake", tags=["water"], attributes={"price": 9}
        ),
    )
    assert (written.version, written.events, written.attributes) == (1, 0, {"price": 9})
    assert ids(client.recommendations(text="paddle a kayak", k=1)) == ["boat/1"]
    assert client.item("boat/1").description == "paddle a lake"
    assert client.delete_item("boat/1").deleted
    assert "boat/1" not in ids(client.recommendations(text="paddle a kayak", k=100))
    with pytest.raises(NotFound):
        client.item("boat/1")
    with pytest.raises(NotFound):
        client.delete_item("boat/1")


def test_a_deleted_item_stays_gone_in_a_new_process_and_after_a_rollback(open_shop, open_at, tmp_path):
    client = open_shop.client(EDITOR)
    client.delete_item("flour")
    open_shop.publish()
    open_shop.pointer.rollback("test")
    with open_at(tmp_path / "home") as again:
        answer = again.client(VIEWER).recommendations(user="ann", k=100)
        assert answer.model == "recommender@1"
        assert "flour" not in ids(answer)


def test_a_hidden_item_leaves_every_path_and_is_not_named(open_shop):
    client = open_shop.client(VIEWER, EDITOR)
    client.put_item("bread", ItemWrite(title="Sourdough basket", hidden=True))
    for asked in ({"user": "ann"}, {"user": "stranger"}, {"item": "flour"}, {"text": "bread"}):
        answer = client.recommendations(**asked, k=100)
        assert "bread" not in ids(answer)
        assert "bread" not in {reason.item_id for item in answer.items for reason in item.reasons}


def test_lists_page_by_next(open_shop):
    client = open_shop.client(VIEWER)
    first = client.items(limit=5)
    rest = client.items(limit=5, next=first.next)
    assert [item.item_id for item in [*first.items, *rest.items]] == sorted(
        ["bread", "cup", "flour", "mat", "oven", "secret", "stove", "tent"]
    )
    assert rest.next is None
    assert [item.item_id for item in client.items(q="flour").items] == ["flour", "secret"]
    users = client.users(limit=2)
    assert [user.user_id for user in users.users] == ["ann", "ben"]
    assert [user.user_id for user in client.users(next=users.next).users] == ["cat"]
    assert client.history("ann").events[0].title == "Sourdough basket"
    with pytest.raises(NotFound):
        client.history("nobody")


def test_every_slate_is_kept(open_shop):
    answer = open_shop.client(VIEWER).recommendations(user="ann", k=2)
    with open_shop.db.read() as session:
        row = session.get(SlateRow, answer.slate_id)
    assert (row.asked_by, row.asked, row.served_by, row.model) == ("user", "ann", "personal", "recommender@1")
    assert [shown["item_id"] for shown in row.items] == ids(answer)
    assert set(row.items[0]) == {"item_id", "rank", "source", "score"}


@pytest.mark.parametrize(
    ("roles", "call"),
    [
        ([VIEWER], lambda c: c.send_events([Event(user_id="u", item_id="i", event="view")])),
        ([VIEWER], lambda c: c.put_item("x", ItemWrite(title="X"))),
        ([VIEWER], lambda c: c.delete_item("bread")),
        (["support:admin"], lambda c: c.recommendations(user="ann")),
        ([EDITOR], lambda c: c.rollback()),
    ],
)
def test_a_role_that_may_not(open_shop, roles, call):
    with pytest.raises(Denied, match="needs the role"):
        call(open_shop.client(*roles))


def test_nobody_is_served_without_a_key(open_shop):
    client = open_shop.client(VIEWER)
    client.token = None
    with pytest.raises(Unauthenticated):
        client.recommendations(user="ann")


def test_without_a_bundle_it_says_which_command_to_run(shop):
    client = shop.client(VIEWER)
    assert "trillium train recommender" in client.ready()
    with pytest.raises(Unavailable, match="trillium index recommender"):
        client.recommendations(user="ann")


def test_without_a_ranker_text_and_popularity_serve(shop, act):
    shop.fill(acts=[act("ann", "tent", days=1)])
    shop.publish(together=None)
    client = shop.client(VIEWER)
    answer = client.recommendations(user="ann", k=2)
    assert answer.served_by == "personal"
    assert set(ids(answer)) <= {"stove", "mat"}
    assert client.recommendations(user="x").served_by == "popular"


def test_requests_refuse_unknown_fields(open_shop):
    client = open_shop.client(EDITOR)
    with pytest.raises(BadInput):
        client.post(
            "/v1/events", json={"events": [{"user_id": "u", "item_id": "i", "event": "view", "x": 1}]}
        )
    with pytest.raises(BadInput):
        client.post("/v1/events", json={"events": []})


def test_changes_and_answers_at_the_same_time_never_fail(open_shop):
    client, problems = open_shop.client(VIEWER, EDITOR), []

    def ask():
        try:
            for _ in range(15):
                assert client.recommendations(text="a tent for bread", k=20).items
        except Exception as error:
            problems.append(error)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(15):
        client.put_item(f"n{number % 3}", ItemWrite(title=f"Tent number {number}"))
        if number % 3 == 2:
            client.delete_item("n1")
    for thread in threads:
        thread.join()
    assert problems == []
