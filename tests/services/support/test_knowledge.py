import json

import numpy as np
import pytest

from services.support.domain import Asker, Query
from services.support.intents import CARD, HEAD, MIDDLES, IntentCard, Intents, levels, middles, nearness
from services.support.knowledge import Knowledge, Snapshot, encode_chunks
from services.support.retrieve import DEPTH, PER_DOCUMENT, retrieve
from services.support.store import AnswerRow, Base, last_turn, ledger, vector_cache
from shared.errors import Damaged
from shared.finetuning.out_of_scope import Encoded, fit
from shared.index.flat import FlatIndex
from shared.models.heads import HeadSpec
from shared.models.out_of_scope import FILE
from shared.models.text_model import Outputs
from shared.storage.documents import NewDocument
from shared.testing.schema import assert_models_match_migrations
from shared.text.chunk import chunk

ANYONE = Asker("ann", frozenset())


class Counting:
    """An encoder that keeps what it was given."""

    def __init__(self, model):
        self.model, self.texts = model, []
        self.dim, self.fingerprint = model.dim, model.fingerprint

    def embed(self, texts, *, query=False):
        self.texts += texts
        return self.model.embed(texts)


@pytest.fixture
def encoder(make_model):
    return Counting(make_model())


@pytest.fixture
def fresh(desk, encoder):
    return Knowledge(FlatIndex(encoder.dim), Snapshot(0, ""), encoder)


def ask(knowledge, text, asker=ANYONE, k=5):
    return retrieve(knowledge, Query(text, knowledge.encoder.embed([text])[0]), asker, k=k)


def ids(passages):
    return [one.document.id for one in passages]


def test_the_same_after_every_change_as_made_anew(desk, fresh, encoder):
    """Whatever happened to the table: catching up gives what reading it anew gives."""
    rng = np.random.default_rng(0)
    for step in range(12):
        name, kind = f"d{rng.integers(5)}", rng.integers(3)
        if kind == 0:
            desk.remove(name)
        else:
            text = " ".join(f"Word{rng.integers(9)} stands here." for _ in range(int(rng.integers(1, 200))))
            desk.fill([NewDocument(name, f"Title {step}", text, groups=["g"] if kind == 2 else [])])
        fresh.catch_up(desk.db)
        anew = Knowledge(FlatIndex(encoder.dim), Snapshot(0, ""), encoder)
        anew.catch_up(desk.db)
        assert fresh.documents == anew.documents
        assert fresh.chunks == anew.chunks
        assert fresh.index.ids() == anew.index.ids() == sorted(fresh.chunks)
        assert fresh.index.vectors_of(sorted(fresh.chunks)) == pytest.approx(
            anew.index.vectors_of(sorted(fresh.chunks))
        )
        assert fresh.restricted == anew.restricted


def test_a_snapshot_saves_the_encoding(desk, fresh, encoder):
    desk.fill()
    fresh.catch_up(desk.db)
    with desk.db.read() as session:
        snapshot = Snapshot(ledger().head(session), ledger().identity(session))
    encoder.texts.clear()
    index = FlatIndex(encoder.dim)
    index.add(fresh.index.ids(), fresh.index.vectors_of(fresh.index.ids()))
    Knowledge(index, snapshot, encoder).catch_up(desk.db)
    assert encoder.texts == []


def test_each_text_is_encoded_once_per_encoder(desk, fresh, encoder, make_model, documents):
    desk.fill()
    fresh.catch_up(desk.db)
    encoder.texts.clear()
    desk.remove("hub.md")
    fresh.catch_up(desk.db)
    desk.fill([documents["hub.md"]])
    fresh.catch_up(desk.db)
    assert encoder.texts == []
    other = Counting(make_model(generation="-2"))
    pieces = chunk("Hub lights", documents["hub.md"].text)
    first = encode_chunks(desk.db, other, [*pieces, *pieces])
    assert first.shape == (2 * len(pieces), other.dim)
    assert len(other.texts) == len(pieces)
    with desk.db.read() as session:
        assert vector_cache().get(session, ["nothing"], other.fingerprint) == {}


def test_one_long_page_does_not_fill_the_answer(desk, fresh):
    long = " ".join(f"The refund of order {i} takes five days." for i in range(300))
    desk.fill([NewDocument("long", "Refund", long), NewDocument("short", "Refund", "A refund takes days.")])
    fresh.catch_up(desk.db)
    found = ask(fresh, "how many days takes a refund")
    assert ids(found).count("long") == PER_DOCUMENT
    assert "short" in ids(found)
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    assert all(
        long[one.start : one.end].startswith("The refund") for one in found if one.document.id == "long"
    )


def test_what_one_may_not_see_takes_no_place_of_what_one_may(desk, fresh):
    secret = [
        NewDocument(f"s{i:03}", "Refund", "refund refund refund", groups=["staff"]) for i in range(DEPTH + 9)
    ]
    desk.fill([*secret, NewDocument("open", "Open", "a refund is far away from here")])
    fresh.catch_up(desk.db)
    assert ids(ask(fresh, "refund")) == ["open"]
    assert len(ids(ask(fresh, "refund", Asker("bob", frozenset({"staff", "x"}))))) == 5
    assert fresh.allowed(Asker("eve", frozenset({"Staff"}))) == ["open#0"]


def test_groups_that_change_count_at_once(desk, fresh, documents):
    desk.fill()
    fresh.catch_up(desk.db)
    assert "leak.md" not in ids(ask(fresh, "refund above five hundred"))
    leak = documents["leak.md"]
    desk.fill([NewDocument(leak.id, leak.title, leak.text)])
    fresh.catch_up(desk.db)
    assert not fresh.restricted
    assert fresh.allowed(ANYONE) is None
    assert ids(ask(fresh, "refund above five hundred"))[0] == "leak.md"


def test_nothing_to_search_finds_nothing(desk, fresh):
    fresh.catch_up(desk.db)
    assert ask(fresh, "refund") == []


# --- intents ------------------------------------------------------------------------------------------


def test_intents_come_back_as_saved(tmp_path, make_model):
    model = make_model()
    model.save(tmp_path, {"refund": "Five days."}, 0.4)
    intents = Intents.load(tmp_path)
    query = intents.read("how long does a refund take", model.run(["how long does a refund take"]))
    assert query.guesses[0].intent == "refund"
    assert [one.probability for one in query.guesses] == sorted(
        (one.probability for one in query.guesses), reverse=True
    )
    assert intents.recognises(query)
    assert query.nearness == pytest.approx(float(model.middles[0] @ query.vector))
    far = intents.read("football", model.run(["football"]))
    assert not intents.recognises(far)


def test_a_rule_says_how_near_a_question_is(tmp_path, make_model):
    model = make_model()
    told = {"refund": "when is my refund", "no_line": "red light and no line", "lost_sim": "i lost my sim"}
    asked, labels = [*told.values()] * 10, [model.labels.index(name) for name in told] * 10
    outputs = model.run(asked)
    spec = HeadSpec(name=HEAD, kind="classify", labels=model.labels)
    encoded = Encoded(outputs.vectors, levels(outputs))
    rule, places = fit(spec, outputs.vectors, labels, encoded, labels)
    card = IntentCard(labels=model.labels, threshold=-rule.threshold, rule=rule)
    Intents(card, model.middles, places).save(tmp_path)
    intents = Intents.load(tmp_path)
    near = intents.read("i lost my sim", model.run(["i lost my sim"]))
    assert near.nearness == pytest.approx(
        float(nearness(rule, places, model.run(["i lost my sim"]))[0]), abs=1e-3
    )
    assert intents.recognises(near)
    assert not intents.recognises(intents.read("football", model.run(["football"])))
    (tmp_path / FILE).unlink()
    with pytest.raises(Damaged, match=FILE):
        Intents.load(tmp_path)


def test_a_model_without_intents_knows_none(tmp_path, make_model):
    intents = Intents.load(tmp_path)
    query = intents.read("refund", Outputs(make_model().embed(["refund"])))
    assert (query.guesses, intents.recognises(query)) == ((), False)


@pytest.mark.parametrize("damage", ["{", '{"labels": ["a"]}', '{"unknown": 1}'])
def test_a_damaged_card_says_so(tmp_path, make_model, damage):
    make_model().save(tmp_path, {}, 0.5)
    (tmp_path / CARD).write_text(damage)
    with pytest.raises(Damaged, match="trillium train support"):
        Intents.load(tmp_path)


def test_pickled_middles_are_refused(tmp_path, make_model):
    make_model().save(tmp_path, {}, 0.5)
    with (tmp_path / MIDDLES).open("wb") as file:  # the header is enough: what follows is never read
        np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": (1,)})
    with pytest.raises(Damaged):
        Intents.load(tmp_path)


def test_middles_have_unit_length_and_an_intent_without_rows_is_zero():
    found = middles(np.array([[2, 0], [0, 2], [0, 4]], np.float32), ["a", "b", "b"], ["b", "a", "c"])
    assert found == pytest.approx(np.array([[0, 1], [1, 0], [0, 0]], np.float32))
    assert IntentCard().threshold == 1.0


# --- tables -------------------------------------------------------------------------------------------


def test_the_tables_are_those_of_the_revisions(database_url):
    assert_models_match_migrations(database_url, "support", Base.metadata)


def test_the_last_turn_of_a_conversation(tmp_path, open_at, database_url):
    url = None if database_url.startswith("sqlite") else database_url
    with open_at(tmp_path / "home", url) as desk:
        with desk.db.write() as session:
            for i, (conversation, person) in enumerate(
                [("c", "ann"), ("c", "ann"), ("c", "bob"), ("d", "ann")]
            ):
                session.add(
                    AnswerRow(
                        id=f"a{i}",
                        conversation_id=conversation,
                        at=desk.clock.now().replace(minute=i),
                        asked_by=person,
                        question=f"q{i}",
                        status="answer",
                        text="t",
                        citations=[json.loads('{"start": 1}')],
                        choices=["x"],
                    )
                )
        with desk.db.read() as session:
            assert last_turn(session, "c", "ann").question == "q1"
            assert last_turn(session, "c", "eve") is None
            assert last_turn(session, "e", "ann") is None
            assert last_turn(session, "c", "bob").citations == [{"start": 1}]
