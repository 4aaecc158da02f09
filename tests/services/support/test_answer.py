import numpy as np
import pytest

from services.support.answer import SentenceVectors, extract, told
from services.support.decide import NO_DOCUMENTS, UNKNOWN, Limits, decide
from services.support.domain import Guess, Passage, Query, related, title_of
from services.support.intents import IntentCard, Intents
from services.support.sentences import sentences_of

LIMITS = Limits(passage=0.3)
REFUND = (
    "How long\nA refund takes five working days. It goes to the card that paid.\n"
    "Costs\nReturning the device is free:\n- print the label\n- bring it to a shop\n\n"
    "Opening hours are on the page."
)


@pytest.fixture
def model(make_model):
    return make_model()


@pytest.fixture
def ask(model, document):
    """What is quoted for a question about documents, each read whole."""

    def asked(question, *texts, score=0.9):
        query = Query(question, model.embed([question])[0])
        found = [whole(document(text, name), score) for name, text in zip("abcdef", texts, strict=False)]
        return extract(query, found, SentenceVectors(model.embed))

    return asked


def whole(document, score=0.9):
    return Passage(document, f"{document.id}#0", 0, len(document.text), score)


def test_sentences_know_their_heading_and_place(document):
    passage = whole(document(REFUND))
    found = sentences_of(passage)
    assert [(one.heading, one.text) for one in found] == [
        ("How long", "A refund takes five working days."),
        ("How long", "It goes to the card that paid."),
        ("Costs", "Returning the device is free:"),
        ("Costs", "- print the label"),
        ("Costs", "- bring it to a shop"),
        ("Costs", "Opening hours are on the page."),
    ]
    assert all(REFUND[one.start : one.end] == one.text for one in found)
    part = Passage(passage.document, "a#1", REFUND.index("Costs"), len(REFUND), 0.9)
    assert [one.text for one in sentences_of(part)] == [one.text for one in found[2:]]


def test_the_best_sentence_is_quoted_where_it_stands(ask):
    (quote,) = ask("how long does a refund take", REFUND)
    assert quote.text == "A refund takes five working days."
    assert quote.start == REFUND.index("A refund")
    assert told([quote]) == "A refund takes five working days. [1]"


def test_neighbours_that_come_near_are_quoted_along(ask):
    (quote,) = ask("refund to which card in how many days", REFUND)
    assert quote.text == "A refund takes five working days. It goes to the card that paid."


def test_a_colon_brings_what_it_promises(ask):
    (quote,) = ask("is returning the device free", REFUND)
    assert quote.text == "Returning the device is free:\n- print the label"


def test_a_heading_is_read_but_never_quoted(ask):
    (quote,) = ask(
        "opening", "Opening\nMonday to Friday from nine to six.\nPhone\nCall us at any hour of it."
    )
    assert quote.text == "Monday to Friday from nine to six."


def test_a_quote_stays_under_its_heading(ask):
    text = "Zone one\nData costs nothing in zone one.\nZone two\nData costs nothing in zone two."
    (quote,) = ask("what does data cost in zone two", text)
    assert quote.text == "Data costs nothing in zone two."


def test_a_second_document_that_answers_as_well_is_quoted_too(ask):
    quotes = ask(
        "the red light is on", "The red light is on when the line is gone.", "The red light is on at night."
    )
    assert sorted(quote.passage.document.id for quote in quotes) == ["a", "b"]
    assert quotes[0].score >= quotes[1].score
    assert told(quotes).count("[") == 2


def test_a_short_line_is_quoted_only_where_there_is_nothing_longer(ask):
    (quote,) = ask("refund form", "Refund form.\nPlease fill this in and send it to the shop.")
    assert quote.text == "Please fill this in and send it to the shop."
    (quote,) = ask("phone", "Phone: 12345.")
    assert quote.text == "Phone: 12345."


def test_passages_without_sentences_give_nothing(ask):
    assert ask("refund", "Only a heading") == []
    assert ask("refund") == []


def test_what_two_passages_share_is_quoted_once(model, document):
    page = document("A refund takes five days. The card gets it back. It costs nothing at all to ask.")
    cut = page.text.index("It costs")
    overlapping = [Passage(page, "a#0", 0, cut - 1, 0.9), Passage(page, "a#1", 26, len(page.text), 0.8)]
    query = Query("five days refund card back", model.embed(["five days refund card back"])[0])
    quotes = extract(query, overlapping, SentenceVectors(model.embed))
    assert len(quotes) == 1


def test_sentence_vectors_are_made_once_and_the_oldest_forgotten(model):
    made = []

    def embed(texts):
        made.extend(texts)
        return model.embed(texts)

    vectors = SentenceVectors(embed, size=2)
    first = vectors.of(["a", "b", "a"])
    assert first.shape == (3, model.dim)
    assert made == ["a", "b"]
    vectors.of(["b"])
    assert made == ["a", "b"]
    vectors.of(["c"])
    vectors.of(["b", "c"])
    assert made == ["a", "b", "c"]
    vectors.of(["a"])
    assert made == ["a", "b", "c", "a"]


# --- the decision -------------------------------------------------------------------------------------


def guesses(*pairs):
    return tuple(Guess(name, share) for name, share in pairs)


SURE = guesses(("refund", 0.9), ("no_line", 0.1))
CLOSE = guesses(("refund", 0.4), ("no_line", 0.35), ("lost_sim", 0.2))
NEAR, FAR = 0.8, 0.1
REPLIES = {"refund": "Five days."}


@pytest.mark.parametrize(
    ("guessed", "nearness", "passage", "status", "said"),
    [
        (SURE, NEAR, 0.9, "answer", "A refund takes five days. [1]"),  # a page answers
        (SURE, FAR, 0.9, "answer", "A refund takes five days. [1]"),  # also where the intent is unknown
        (CLOSE, NEAR, 0.9, "answer", "A refund takes five days. [1]"),  # or not clear
        (SURE, NEAR, 0.2, "answer", "Five days."),  # no page is near: the agreed reply
        (SURE, FAR, 0.2, "handoff", None),  # neither page nor intent
        (CLOSE, NEAR, 0.2, "choices", None),  # two intents that could both be meant
        (CLOSE, FAR, 0.2, "handoff", None),  # but not where none is
        (guesses(("no_line", 0.9), ("refund", 0.1)), NEAR, 0.2, "handoff", None),  # no agreed reply
        (guesses(("refund", 0.4), ("no_line", 0.1)), NEAR, 0.2, "answer", "Five days."),  # nothing close
        ((), -1.0, 0.2, "handoff", None),  # a model without intents
    ],
)
def test_one_place_decides(model, document, guessed, nearness, passage, status, said):
    query = Query("how long does a refund take", model.embed(["refund"])[0], guessed, nearness)
    card = IntentCard(labels=["refund"], replies=REPLIES, threshold=0.5)
    found = [whole(document("A refund takes five days."), passage)]
    draft = decide(query, found, Intents(card, model.middles[:1]), LIMITS, SentenceVectors(model.embed))
    assert draft.status == status
    assert said is None or draft.text == said
    assert draft.reason == (UNKNOWN if status == "handoff" else None)
    assert bool(draft.quotes) == (passage >= LIMITS.passage)
    if status == "choices":
        assert [guess.intent for guess in draft.choices] == ["refund", "no_line"]


@pytest.mark.parametrize(
    ("guessed", "nearness", "passage", "quoted"),
    [
        (SURE, NEAR, 0.4, True),  # a known intent: the common limit
        (SURE, FAR, 0.4, False),  # none of the known intents: the page must be nearer
        (SURE, FAR, 0.6, True),  # since the documents may know more than the tickets
        ((), -1.0, 0.4, True),  # a model that knows no intents can't say so
    ],
)
def test_a_question_of_no_known_intent_needs_a_nearer_page(
    model, document, guessed, nearness, passage, quoted
):
    query = Query("how long does a refund take", model.embed(["refund"])[0], guessed, nearness)
    intents = Intents(IntentCard(labels=["refund"], threshold=0.5), model.middles[:1])
    found = [whole(document("A refund takes five days."), passage)]
    limits = Limits(passage=0.3, sure=0.5)
    draft = decide(query, found, intents, limits, SentenceVectors(model.embed))
    assert (bool(draft.quotes), draft.status) == (quoted, "answer" if quoted else "handoff")


def test_the_limit_of_unknown_questions_is_never_below_the_common_one(model):
    query = Query("football", model.embed(["football"])[0], SURE, FAR)
    intents = Intents(IntentCard(labels=["refund"], threshold=0.5), model.middles[:1])
    assert Limits(passage=0.6, sure=0.5).of(query, intents) == 0.6
    assert Limits(passage=0.6).of(query, intents) == 0.6


def test_no_documents_is_a_reason_of_its_own(model):
    query = Query("refund", model.embed(["refund"])[0], SURE, NEAR)
    intents = Intents(IntentCard(labels=["refund"], replies=REPLIES, threshold=0.5), model.middles[:1])
    draft = decide(query, [], intents, LIMITS, SentenceVectors(model.embed))
    assert (draft.status, draft.reason) == ("handoff", NO_DOCUMENTS)


def test_related_documents_are_those_not_quoted(document, ask):
    pages = [whole(document("x", name)) for name in "abcdea"]
    quotes = ask("a refund takes five days", "A refund takes five days.")
    assert [page.id for page in related(pages, quotes)] == ["b", "c", "d"]


@pytest.mark.parametrize(
    ("question", "language"),
    [
        ("refund?", "en"),
        ("退款要多久？", "zh"),
        ("我的Wi-Fi坏了", "zh"),
        ("返金はいつですか", "en"),
        ("", "en"),
        ("🙂", "en"),
    ],
)
def test_the_bot_speaks_the_language_of_the_question(model, question, language):
    query = Query(question, model.embed([question])[0])
    draft = decide(query, [], Intents(IntentCard(), model.middles[:0]), LIMITS, SentenceVectors(model.embed))
    assert draft.text.startswith({"en": "I don't know", "zh": "这个问题我不知道"}[language])


@pytest.mark.parametrize(
    ("intent", "title"),
    [("cancel_order", "Cancel order"), ("wifi-password", "Wifi password"), ("退款", "退款")],
)
def test_intents_have_titles(intent, title):
    assert title_of(intent) == title


def test_vectors_are_finite(model):
    assert np.isfinite(SentenceVectors(model.embed).of(["", "?"])).all()
