"""The example help centre keeps its own rules."""

import csv
import re
from collections import Counter
from importlib.resources import files
from pathlib import Path

import pytest

from pipelines.answering.documents import read_documents
from pipelines.answering.tickets import read_tickets, replies
from shared.evaluation.baselines import tfidf_svm
from shared.text.words import sentences, words

HERE = Path(str(files("pipelines.samples.support")))
COLUMNS = {
    "tickets": ["question", "intent", "reply"],
    "held_out": ["question", "intent", "article"],
    "out_of_scope": ["question"],
}


@pytest.fixture(scope="module")
def rows():
    def read(name):
        with (HERE / f"{name}.csv").open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    return {name: read(name) for name in COLUMNS}


def bag(text):
    return {word.text.casefold() for word in words(text)}


def jaccard(one, other):
    return len(one & other) / len(one | other)


@pytest.mark.parametrize(("name", "columns"), COLUMNS.items())
def test_each_table_is_well_formed(name, columns):
    with (HERE / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        head, *lines = csv.reader(file, strict=True)
    assert head == columns
    for line in lines:
        assert len(line) == len(columns), line
        assert all(cell and cell == cell.strip() for cell in line), line


def test_no_question_occurs_twice(rows):
    asked = Counter(row["question"].casefold() for table in rows.values() for row in table)
    assert [question for question, times in asked.items() if times > 1] == []


def test_the_tickets_have_their_size_and_their_intents(rows, tmp_path):
    tickets, held_out = rows["tickets"], rows["held_out"]
    counts = Counter(row["intent"] for row in tickets)
    assert (len(tickets), len(held_out), len(rows["out_of_scope"])) == (440, 120, 40)
    assert len(counts) == 20
    assert set(counts.values()) == {22}
    assert Counter(row["intent"] for row in held_out) == dict.fromkeys(counts, 6)
    assert set(replies(read_tickets(HERE / "tickets.csv", tmp_path, seed=0))) == set(counts)


def test_an_intent_has_a_few_replies_that_several_tickets_share(rows):
    said = {}
    for row in rows["tickets"]:
        said.setdefault(row["intent"], Counter())[row["reply"]] += 1
    for intent, replied in said.items():
        assert 2 <= len(replied) <= 4, intent
        assert min(replied.values()) >= 2, (intent, replied.most_common()[-1])


def test_addresses_belong_to_nobody():
    for path in [*HERE.glob("*.csv"), *HERE.rglob("*.md")]:
        text = path.read_text("utf-8")
        assert set(re.findall(r"@([\w.-]*\w)", text)) <= {"example.com"}, path.name
        assert "://" not in text, path.name


@pytest.mark.parametrize("path", sorted((HERE / "articles").glob("*.md")), ids=lambda path: path.name)
def test_a_page_has_a_title_sections_and_a_readable_length(path):
    text = path.read_text("utf-8")
    assert text.startswith("# ")
    assert text.count("\n# ") == 0
    assert text.count("\n## ") >= 2
    assert 110 <= len(text.split()) <= 220


def test_the_help_centre_is_read_whole(tmp_path):
    found = read_documents(HERE / "articles", tmp_path)
    assert len(found.documents) == 42
    assert found.rejected == []
    assert len({one.title for one in found.documents}) == len(found.documents)
    for one in found.documents:
        assert len(sentences(one.text)) >= 3, one.id
        assert not set("#*`|") & set(one.text.split()[0]), one.id


def test_every_held_out_question_names_a_page(rows, tmp_path):
    pages = {one.id for one in read_documents(HERE / "articles", tmp_path).documents}
    assert {row["article"] for row in rows["held_out"]} <= pages


def test_no_held_out_question_is_close_to_a_ticket(rows):
    known = [bag(row["question"]) for row in rows["tickets"]]
    for row in [*rows["held_out"], *rows["out_of_scope"]]:
        nearest = max(jaccard(bag(row["question"]), other) for other in known)
        assert nearest <= 0.8, row["question"]


def test_the_data_is_neither_too_easy_nor_hopeless_for_a_plain_method(rows):
    tickets, held_out = rows["tickets"], rows["held_out"]
    said = tfidf_svm(
        [row["question"] for row in tickets],
        [row["intent"] for row in tickets],
        [row["question"] for row in held_out],
    )
    right = sum(a == row["intent"] for a, row in zip(said, held_out, strict=True)) / len(held_out)
    assert 0.7 <= right <= 0.9


def test_the_card_says_what_it_is_and_may_be_used_for():
    card = (HERE / "DATA_CARD.md").read_text("utf-8")
    assert "CC0" in card
    assert all(name in card for name in ("tickets.csv", "held_out.csv", "out_of_scope.csv", "articles/"))
