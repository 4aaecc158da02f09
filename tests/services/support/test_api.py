import shutil
import threading
from datetime import timedelta

import pytest

from services.support.client import SupportClient
from services.support.contract import DocumentWrite
from services.support.decide import NO_DOCUMENTS, UNKNOWN
from services.support.store import AnswerRow, newest_questions
from shared.errors import BadInput, Denied, NotFound, Unauthenticated, Unavailable

AGENT, EDITOR = "support:agent", "support:editor"


def cited(answer):
    return [one.document_id for one in answer.citations]


def test_an_answer_quotes_its_source_word_for_word(still_desk):
    answer = still_desk.client(AGENT).ask("how long does a refund take")
    assert (answer.status, answer.model, answer.index) == ("answer", "support@1", "support-index@1")
    (one,) = answer.citations
    assert (one.document_id, one.title, one.url, one.version) == (
        "refund.md",
        "Refunds",
        "https://help.example/refund",
        1,
    )
    text = still_desk.client(AGENT).document("refund.md").text
    assert text[one.start : one.end] == one.quote
    assert one.quote.startswith("A refund takes five working days.")
    assert answer.text == f"{one.quote} [1]"
    assert (answer.intent.name, answer.handoff, answer.choices) == ("refund", None, [])
    assert "refund.md" not in {other.document_id for other in answer.related}


def test_one_pass_of_the_model_for_a_question(open_desk):
    open_desk.client(AGENT).ask("how long does a refund take")
    assert open_desk.model.passes == ["how long does a refund take"]


def test_what_nothing_answers_goes_to_a_person(still_desk):
    answer = still_desk.client(AGENT).ask("who won yesterday's football match")
    assert (answer.status, answer.citations, answer.intent) == ("handoff", [], None)
    assert answer.handoff.reason == UNKNOWN
    assert "football" not in answer.handoff.reason
    assert answer.handoff.summary.startswith("Asked: who won yesterday's football match")


def test_without_documents_everything_goes_to_a_person(desk):
    desk.publish(index=False)
    answer = desk.client(AGENT).ask("how long does a refund take")
    assert (answer.status, answer.handoff.reason, answer.index) == ("handoff", NO_DOCUMENTS, None)


def test_a_known_intent_gives_the_agreed_reply_where_no_page_is_near(desk, documents):
    desk.fill([documents["sim.md"]])
    desk.publish(passage=0.99, replies={"refund": "It takes five days."})
    answer = desk.client(AGENT).ask("how long does a refund take")
    assert (answer.status, answer.text, answer.citations) == ("answer", "It takes five days.", [])
    assert desk.client(AGENT).ask("red light and no line").status == "handoff"


def _three_alike(model):
    """Three intents that no question tells apart."""
    model.labels, model.middles = ["refund_a", "refund_b", "refund_c"], model.middles[[0, 0, 0]]


def test_two_near_intents_are_offered_and_the_chosen_one_counts(desk):
    desk.fill()
    _three_alike(desk.model)
    desk.publish(passage=0.99, replies={"refund_a": "A.", "refund_b": "B."}, threshold=0.3)
    client = desk.client(AGENT)
    answer = client.ask("refund take card")
    assert answer.status == "choices"
    assert [(one.intent, one.title) for one in answer.choices] == [
        ("refund_a", "Refund a"),
        ("refund_b", "Refund b"),
        ("refund_c", "Refund c"),
    ]
    desk.model.passes.clear()
    client.ask("Refund b", answer.conversation_id)
    assert desk.model.passes == ["Refund b: refund take card"]
    client.ask("Refund b")
    assert desk.model.passes[-1] == "Refund b"


def test_a_conversation_is_nobody_elses(desk):
    desk.fill()
    _three_alike(desk.model)
    desk.publish(passage=0.99, threshold=0.3)
    answer = desk.client(AGENT).ask("refund take card")
    assert answer.status == "choices"
    with desk.db.write() as session:
        session.query(AnswerRow).update({"asked_by": "somebody else"})
    desk.client(AGENT).ask("Refund b", answer.conversation_id)
    assert desk.model.passes[-1] == "Refund b"


def test_every_turn_is_kept(open_desk):
    client = open_desk.client(AGENT)
    first = client.ask("how long does a refund take")
    client.ask("who won the football match", first.conversation_id)
    with open_desk.db.read() as session:
        rows = session.query(AnswerRow).filter_by(conversation_id=first.conversation_id).all()
        kept = {row.status: row for row in rows}
        assert kept["answer"].id == first.answer_id
        assert kept["answer"].at == open_desk.clock.now()
        assert (kept["answer"].model, kept["answer"].index) == ("support@1", "support-index@1")
        assert kept["answer"].citations[0]["document_id"] == "refund.md"
        assert "quote" not in kept["answer"].citations[0]
        assert kept["handoff"].reason == UNKNOWN


# --- access -------------------------------------------------------------------------------------------


def test_groups_decide_inside_the_search(still_desk):
    question = "a refund above five hundred needs the manager to sign"
    finance, other = still_desk.client(AGENT, groups=["finance"]), still_desk.client(AGENT, groups=["shop"])
    assert cited(finance.ask(question))[0] == "leak.md"
    answer = other.ask(question)
    assert "leak.md" not in str(answer.model_dump())
    assert "manager" not in answer.text
    assert "staff" not in str(answer.model_dump())


def test_a_restricted_document_looks_like_a_missing_one(open_desk):
    finance = open_desk.client(AGENT, EDITOR, groups=["finance"])
    other = open_desk.client(AGENT, EDITOR)
    assert finance.document("leak.md").groups == ["finance"]
    for attempt in (other.document, other.delete_document):
        with pytest.raises(NotFound) as restricted:
            attempt("leak.md")
        with pytest.raises(NotFound) as missing:
            attempt("none.md")
        assert restricted.value.detail.replace("leak.md", "") == missing.value.detail.replace("none.md", "")
    with pytest.raises(NotFound):
        other.put_document("leak.md", DocumentWrite(title="Mine", text="now"))
    assert "leak.md" not in {one.id for one in other.documents().documents}
    assert "leak.md" in {one.id for one in finance.documents().documents}
    assert finance.delete_document("leak.md").deleted


@pytest.mark.parametrize("limit", [1, 2, 3, 500])
def test_documents_come_in_pages_without_gaps(still_desk, limit):
    client, seen, after = still_desk.client(AGENT), [], None
    while True:
        page = client.documents(next=after, limit=limit)
        seen += [one.id for one in page.documents]
        assert len(page.documents) <= limit
        after = page.next
        if after is None:
            break
    assert seen == ["hub.md", "refund.md", "sim.md"]


def test_roles(still_desk):
    with pytest.raises(Unauthenticated):
        SupportClient("http://test", http=still_desk.http).ask("hello")
    agent = still_desk.client(AGENT)
    for attempt in (
        lambda: still_desk.client("recommender:admin").ask("hello"),
        lambda: agent.put_document("x", DocumentWrite(title="t", text="x")),
        lambda: agent.delete_document("hub.md"),
    ):
        with pytest.raises(Denied):
            attempt()
    assert still_desk.client(EDITOR).ask("red light and no line").status == "answer"


# --- documents change under the index -----------------------------------------------------------------


def test_a_document_written_over_the_api_is_in_the_next_answer(open_desk):
    editor = open_desk.client(EDITOR)
    question = "does the parrot subscription include seeds"
    assert editor.ask(question).status == "handoff"
    page = "# Ignored\n\nThe parrot subscription does **include** [seeds](http://x.example)."
    kept = editor.put_document("pets/parrot", DocumentWrite(title="Parrot", text=page, format="markdown"))
    assert kept.text == "The parrot subscription does include seeds."
    answer = editor.ask(question)
    assert (cited(answer), answer.index) == (["pets/parrot"], "support-index@1")
    again = editor.put_document(
        "pets/parrot", DocumentWrite(title="Parrot", text="The parrot subscription does include no seeds.")
    )
    assert again.version == 2
    assert "no seeds" in editor.ask(question).text
    editor.delete_document("pets/parrot")
    assert editor.ask(question).status == "handoff"


def test_what_was_deleted_stays_gone_through_a_new_bundle_and_a_rollback(open_desk, open_at):
    client, question = open_desk.client(EDITOR), "how long does a refund take"
    assert cited(client.ask(question)) == ["refund.md"]
    client.delete_document("refund.md")
    open_desk.publish()
    open_desk.pointer.rollback("test")
    with open_at(open_desk.settings.home) as replica:  # a new process, the old snapshot
        answer = replica.client(AGENT).ask(question)
        assert answer.model == "support@1"
        assert "refund.md" not in str(answer.model_dump())
        assert "five working days" not in answer.text


def test_a_snapshot_of_another_table_is_no_starting_point(open_desk, open_at, documents, tmp_path):
    shutil.copytree(open_desk.store.root, tmp_path / "other" / "artifacts")
    with open_at(tmp_path / "other") as other:
        other.fill([documents["hub.md"]])  # one row: its number is below the snapshot's
        client = other.client(AGENT)
        assert cited(client.ask("red light and no line")) == ["hub.md"]
        assert "refund.md" not in str(client.ask("how long does a refund take").model_dump())


def test_the_live_bundle_moves_under_load_without_a_failed_request(open_desk):
    client, failed, seen = open_desk.client(AGENT), [], set()
    stop = threading.Event()

    def ask():
        while not stop.is_set():
            try:
                answer = client.ask("how long does a refund take")
                seen.add(answer.model)
                assert cited(answer) == ["refund.md"]
            except Exception as error:
                failed.append(error)

    people = [threading.Thread(target=ask) for _ in range(4)]
    for one in people:
        one.start()
    try:
        expected = {"support@1"}
        for _ in range(2):
            name = open_desk.publish()
            expected.add(name)
            waited = threading.Event()
            for _ in range(500):
                if name in seen:
                    break
                waited.wait(0.02)
        open_desk.pointer.rollback("test")
    finally:
        stop.set()
        for one in people:
            one.join()
    assert failed == []
    assert seen >= expected


# --- bad input ----------------------------------------------------------------------------------------


def test_without_a_bundle_it_starts_and_says_what_to_run(desk):
    client = desk.client(AGENT)
    assert "trillium train support" in client.ready()
    with pytest.raises(Unavailable, match="trillium index support"):
        client.ask("hello")
    desk.publish(index=False)
    assert client.ready() is None


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"question": ""},
        {"question": "  \n"},
        {"question": "x" * 4001},
        {"question": "hello", "conversation_id": "a b"},
        {"question": "hello", "temperature": 1},
        {"question": "a\x00b"},
        {"question": 7},
    ],
)
def test_questions_that_are_none(still_desk, body):
    with pytest.raises(BadInput):
        still_desk.client(AGENT).post("/v1/ask", json=body)


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("x" * 501, {"title": "t", "text": "words"}),
        ("x", {"title": "t", "text": "<p> </p>", "format": "html"}),
        ("x", {"title": "t", "text": "![](http://a.example/b.png)", "format": "markdown"}),
        ("x", {"title": " ", "text": "words"}),
        ("x", {"title": "t", "text": "words", "format": "pdf"}),
        ("x", {"title": "t\x00", "text": "words"}),
    ],
)
def test_documents_that_are_none(still_desk, name, body):
    with pytest.raises(BadInput):
        still_desk.client(EDITOR).put(f"/v1/documents/{name}", json=body)
    assert len(still_desk.client(AGENT).documents().documents) == 3


@pytest.mark.parametrize(
    "question", ["🙂", "?", "<script>alert(1)</script>", "a " * 2000, "退款要多久？", "'; DROP TABLE"]
)
def test_odd_questions_are_answered_like_any_other(still_desk, question):
    assert still_desk.client(AGENT).ask(question).status in ("answer", "handoff", "choices")


def test_what_was_asked_is_what_drift_looks_at(open_desk):
    client = open_desk.client(AGENT)
    for question in ("how long does a refund take", "the red light is on"):
        open_desk.clock.time += timedelta(minutes=1)
        client.ask(question)
    with open_desk.db.read() as session:
        assert newest_questions(session, 5) == ["the red light is on", "how long does a refund take"]
        assert newest_questions(session, 1) == ["the red light is on"]
    found = client.drift()
    assert (found["model"], found["current"], found["figures"]) == ("support-model@1", 2, [])
    with pytest.raises(Denied):
        open_desk.client().drift()
