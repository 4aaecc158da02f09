"""What a record must hold, and topics by keywords."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from services.sentiment.domain import Article, Scored
from services.sentiment.incoming import article_of
from services.sentiment.score import make_scorer
from services.sentiment.topics import DEFAULT, KeywordTopics, Topic, parse_topics, read_topics, to_csv
from shared.errors import BadInput, Damaged
from shared.models.heads import HeadSpec
from shared.models.text_model import Outputs

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
GOOD = {"id": "a1", "ts": "2026-03-02T11:00:00Z", "title": "Profit  falls\n again"}


def test_a_record_becomes_an_article_with_what_is_missing_filled_in():
    article = article_of({**GOOD, "url": "javascript:alert(1)", "more": 1}, NOW)
    assert article == Article("a1", datetime(2026, 3, 2, 11, tzinfo=UTC), "Profit falls again")


@pytest.mark.parametrize(
    ("change", "field", "value"),
    [
        ({"id": 17}, "id", "17"),
        ({"title": None, "text": "Only a body"}, "title", "Only a body"),
        ({"ts": 1_772_449_200}, "ts", datetime(2026, 3, 2, 11, tzinfo=UTC)),
        ({"ts": 1_772_449_200_000}, "ts", datetime(2026, 3, 2, 11, tzinfo=UTC)),  # milliseconds
        ({"ts": "1987-10-19T09:31:01"}, "ts", datetime(1987, 10, 19, 9, 31, 1, tzinfo=UTC)),
        ({"ts": "2026-03-02T14:00:00+00:00"}, "ts", NOW),  # two hours ahead: a wrong zone
        ({"url": "https://news.example/1"}, "url", "https://news.example/1"),
        ({"source": "x" * 300}, "source", "x" * 100),
    ],
)
def test_what_can_be_put_right_is(change, field, value):
    assert getattr(article_of({**GOOD, **change}, NOW), field) == value


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"ts": None}, "ts is missing"),
        ({"ts": " "}, "ts is missing"),
        ({"ts": "31-FEB-1987"}, "no time"),
        ({"ts": [1]}, "ts is"),
        ({"ts": (NOW + timedelta(days=2)).isoformat()}, "more than a day ahead"),
        ({"id": None}, "id is None"),
        ({"id": "x" * 201}, "1 to 200"),
        ({"id": True}, "id is True"),
        ({"title": "", "text": " "}, "both empty"),
        ({"title": 3}, "title is a int"),
    ],
)
def test_what_is_broken_is_refused_with_its_reason(change, why):
    with pytest.raises(BadInput, match=why):
        article_of({**GOOD, **change}, NOW)


def test_the_model_reads_the_title_once():
    assert Article("a", NOW, "Bank fails", "Bank fails. Shares drop.").whole == "Bank fails. Shares drop."
    assert Article("a", NOW, "Bank fails", "Shares drop.").whole == "Bank fails. Shares drop."
    assert Article("a", NOW, "Bank fails", "").whole == "Bank fails"


FILE = """name,description,keywords
banks,"Banks, and what they lend",bank;loan*;central bank;银行
ships,,port;freight rate
mood,no keywords,
"""


def test_a_topics_file_is_read_and_written_alike():
    topics = parse_topics(FILE)
    assert [topic.name for topic in topics] == ["banks", "ships", "mood"]
    assert topics[0] == Topic("banks", "Banks, and what they lend", ("bank", "loan*", "central bank", "银行"))
    assert parse_topics(to_csv(topics)) == topics


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("The BANK lends", ("banks",)),
        ("Embankment in the Portland area", ()),  # whole words only
        ("Loans and loaned sums", ("banks",)),  # * is any ending
        ("banks", ()),  # without * no ending
        ("freight   rate at the port's edge", ("ships",)),
        ("中国银行发布公告", ("banks",)),  # no blanks between words
        ("central\nbank and port", ("banks", "ships")),
        ("", ()),
    ],
)
def test_keywords(text, names):
    assert KeywordTopics(parse_topics(FILE)).find(text) == names


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("name,keywords\na,b\n", "needs name, description, keywords"),
        ("", "columns none"),
        ("name,description,keywords\n", "no topic"),
        ("name,description,keywords\nall,,x\n", "'all' is taken"),
        ("name,description,keywords\na,,x\na,,y\n", "line 3: topic 'a' is there twice"),
        ("name,description,keywords\n,,x\n", "line 2"),
    ],
)
def test_a_wrong_topics_file_is_refused(text, why):
    with pytest.raises(BadInput, match=why):
        parse_topics(text)


def test_the_default_topics_can_be_read():
    topics = read_topics(DEFAULT)
    assert len(topics) == 8
    assert all(topic.keywords and topic.description for topic in topics)


class Fixed:
    """Says the same of every text."""

    def __init__(self, labels=("positive", "negative", "neutral"), topics=()):
        self.heads = {"sentiment": HeadSpec(name="sentiment", kind="classify", labels=list(labels))}
        if topics:
            self.heads["topics"] = HeadSpec(
                name="topics", kind="multilabel", labels=list(topics), thresholds=[0.3] * len(topics)
            )

    def run(self, texts):
        rows = len(texts)
        found = {"sentiment": np.tile(np.float32([0.1, 0.7, 0.2]), (rows, 1))}
        if "topics" in self.heads:
            found["topics"] = np.tile(np.float32([0.4, 0.2]), (rows, 1))
        return Outputs(None, found)


def test_labels_go_by_their_names_and_topics_by_labels_and_keywords():
    scorer = make_scorer("sentiment@1", Fixed(topics=("mood", "ships")), parse_topics(FILE))
    (one,) = scorer.score([Article("a", NOW, "A bank at the port")])
    assert one.label == "negative"
    assert one.probabilities == pytest.approx({"negative": 0.7, "neutral": 0.2, "positive": 0.1})
    # the head knows ships and says no: its keyword "port" is not asked
    assert one.topics == ("mood", "banks")
    assert one.series == ("all", "mood", "banks")
    assert [topic.name for topic in scorer.topics] == ["mood", "ships", "banks"]


def test_no_articles_are_scored_as_none():
    assert make_scorer("m", Fixed(), []).score([]) == []


def test_a_model_with_other_labels_is_refused():
    with pytest.raises(Damaged, match="negative, neutral, positive"):
        make_scorer("sentiment@1", Fixed(labels=("good", "bad", "neutral")), [])


def test_of_equal_probabilities_the_worse_label_is_taken():
    equal = dict.fromkeys(("negative", "neutral", "positive"), 1 / 3)
    assert Scored(Article("a", NOW, "x"), equal, (), "m").label == "negative"
