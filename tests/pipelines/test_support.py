"""The flow end to end on a tiny base: tickets and documents in, a bundle out, served by the real service."""

import csv
import json
import shutil
import subprocess
import sys
import tomllib

import numpy as np
import pytest
from sqlalchemy import update

from pipelines.answering import publishing
from pipelines.answering.limits import cut, foreign_questions
from pipelines.answering.publishing import compact
from pipelines.answering.tickets import read_tickets, replies
from pipelines.flow import rollback, workplace
from pipelines.support import default_recipe
from services.support.app import build
from services.support.contract import AskRequest
from services.support.domain import Asker
from services.support.intents import Intents
from services.support.store import ArticleRow, ledger, open_database
from shared.artifacts.store import ArtifactStore
from shared.errors import BadInput, NotFound, UsageError
from shared.finetuning.recipe import Recipe
from shared.models.text_model import TextModel
from shared.settings import load_settings
from shared.storage.documents import NewDocument
from shared.storage.migrate import open_checked
from shared.testing.tiny_models import tiny_bert

PAGES = {
    "refund.md": "# Refunds\n\nA refund takes five working days. The card that paid gets it back.",
    "light.md": "# Lights\n\nA red light means that the line is gone. Pull the grey cable and wait.",
    "sim.txt": "Block a lost sim in the app at once. A new sim costs ten euros.",
    "move/house.html": "<h1>Moving</h1><p>Tell us of a new house four weeks before you move.</p>",
}
ASKED = {
    "refund": ("how long does a refund take", "when is the refund on my card", "refund of the card please"),
    "light": ("the red light is on", "red light and the line is gone", "grey cable and a red light"),
    "sim": ("i lost my sim", "block the lost sim please", "how much is a new sim"),
}
ENDINGS = (
    "",
    " please",
    " now",
    " today",
    " again",
    " sir",
    " and wait",
    " at once",
    " in days",
    " means what",
)
RECIPE = """
data.tickets = { text = "question" }
heads.intent = { kind = "classify", data = "tickets", label = "intent" }
heads.vector = { kind = "embed" }
method = { kind = "frozen" }
train = { precision = "fp32" }
"""
ANYONE = Asker("ann", frozenset())


def write_pages(folder, pages=PAGES):
    for name, text in pages.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, "utf-8")
    return folder


def write_tickets(path, asked=ASKED, reply="Reply to {}."):
    rows = [
        (f"{text}{ending}", intent, reply.format(intent))
        for intent, texts in asked.items()
        for text in texts
        for ending in ENDINGS
    ]
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("question", "intent", "reply"), *rows])
    return path


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    texts = [*PAGES.values(), *(text + end for asked in ASKED.values() for text in asked for end in ENDINGS)]
    return tiny_bert(tmp_path_factory.mktemp("base"), texts)


@pytest.fixture
def recipe(base):
    return Recipe.parse({**tomllib.loads(RECIPE), "base": str(base)})


@pytest.fixture
def place(tmp_path):
    return workplace(load_settings({"home": str(tmp_path / "home")}, env={}), "support")


@pytest.fixture
def pages(tmp_path):
    return write_pages(tmp_path / "pages")


@pytest.fixture
def tickets(tmp_path):
    return write_tickets(tmp_path / "tickets.csv")


@pytest.fixture(scope="module")
def indexed_once(tmp_path_factory, base):
    folder = tmp_path_factory.mktemp("indexed")
    place = workplace(load_settings({"home": str(folder / "home")}, env={}), "support")
    return folder, index(place, write_pages(folder / "pages"), base=base)


@pytest.fixture
def indexed(tmp_path, indexed_once, place):
    """A home of its own in which the pages are indexed with the frozen base."""
    folder, said = indexed_once
    shutil.copytree(folder / "home", place.settings.home)
    with open_checked(open_database(place.settings)) as db, db.write() as session:
        session.execute(update(ArticleRow).values(source_path=str((tmp_path / "pages").resolve())))
    return said


@pytest.fixture
def ask(place):
    """A new process each time: it loads what is live, with the documents as they are."""

    def asked(question, asker=ANYONE):
        app = build(place.settings, ArtifactStore(place.settings.home / "artifacts"))
        try:
            return app.ask(AskRequest(question=question), asker)
        finally:
            app.db.close()

    return asked


def train(place, tickets, recipe):
    return publishing.train(place, tickets, recipe, promote=True, progress=False)


def index(place, path=None, remove=(), base=None):
    return publishing.index(place, path, list(remove), base=base and str(base), promote=True)


def seen(answer):
    return {one.document_id for one in answer.citations} | {one.document_id for one in answer.related}


def table(place):
    with open_checked(open_database(place.settings)) as db, db.read() as session:
        return {row.id: row for row in ledger().page(session)}


@pytest.mark.parametrize("order", ["train first", "index first"])
def test_train_and_index_work_in_either_order(place, pages, tickets, recipe, ask, order, request):
    if order == "train first":
        first, second = train(place, tickets, recipe), index(place, pages)
        assert first["compared_with"] == "TF-IDF + linear SVM"
        assert ask("the red light is on").model == "support@2"
    else:
        first = request.getfixturevalue("indexed")
        assert (first["compared_with"], first["documents"]["changed"]) == ("structure", 4)
        assert ask("the red light is on").intent is None  # a frozen base knows no intents
        second = train(place, tickets, recipe)
    assert [first["artifact"], second["artifact"]] == ["support@1", "support@2"]
    assert [first["promoted"], second["promoted"]] == [True, True]
    answer = ask("the red light is on")
    assert answer.intent.name == "light"
    assert "light.md" in seen(answer)
    bundle = place.store.open("support")
    assert set(bundle.manifest.parents) == {"model", "index"}
    assert bundle.parent("index").manifest.parents["model"] == bundle.manifest.parents["model"]
    told = json.loads((bundle.path / "answer.json").read_text("utf-8"))
    assert -1 < told["passage"] < 1
    assert "validation questions" in told["how"]
    assert -1 < told["sure"] <= 1


@pytest.mark.parametrize("greetings", [("",), ("", "hello ", "dear team ")])
def test_enough_validation_questions_fit_a_rule(place, tmp_path, recipe, greetings):
    asked = {name: [hello + text for hello in greetings for text in texts] for name, texts in ASKED.items()}
    tickets = write_tickets(tmp_path / "tickets.csv", asked)
    train(place, tickets, recipe)
    intents = Intents.load(place.store.open("support").parent("model").path)
    assert (intents.card.rule is not None) == (len(greetings) > 1)
    model = TextModel.load(place.store.open("support").parent("model").path)
    own = [row["question"] for row in read_tickets(tickets, place.settings.home, seed=0).valid]
    known = [intents.recognises(intents.read(text, model.run([text], query=True))) for text in own]
    assert np.mean(known) >= 0.9
    foreign = [
        intents.recognises(intents.read(text, model.run([text], query=True))) for text in foreign_questions()
    ]
    assert np.mean(foreign) <= 0.1


def test_without_documents_a_trained_bot_hands_over(place, tickets, recipe, ask):
    said = train(place, tickets, recipe)
    assert said["metrics"]["accuracy"] >= said["metrics"]["plain"]["accuracy"]
    answer = ask("the red light is on")
    assert (answer.status, answer.index, answer.intent.name) == ("handoff", None, "light")


@pytest.mark.parametrize("order", ["delete, train, roll back", "train, delete, roll back"])
def test_a_deleted_document_stays_gone(place, indexed, pages, tickets, recipe, ask, order):
    assert "light.md" in seen(ask("the red light is on"))
    steps = order.split(", ")
    for step in steps:
        if step == "delete":
            with open_checked(open_database(place.settings)) as db, db.write() as session:
                assert ledger().delete(session, ["light.md"]) == 1
        elif step == "train":
            train(place, tickets, recipe)
        else:
            assert rollback(place)["artifact"] == "support@1"
    held = place.store.open("support@1").parent("index")
    assert held.manifest.extra["documents"] == 4  # the snapshot that serves again still holds it
    answer = ask("the red light is on")
    assert answer.model == "support@1"
    assert "light.md" not in str(answer.model_dump())
    assert "grey cable" not in answer.text


def test_changes_over_the_api_are_folded_into_a_new_index(place, indexed, pages, ask):
    assert compact(place) is None
    with open_checked(open_database(place.settings)) as db, db.write() as session:
        ledger().upsert(session, [NewDocument("parrot", "Parrot", "The parrot means a red light.")])
    before = ask("the parrot means a red light")
    assert (before.index, "parrot" in seen(before)) == ("support-index@1", True)
    assert compact(place)["artifact"] == "support@2"
    assert compact(place) is None
    after = ask("the parrot means a red light")
    assert (after.index, after.citations) == ("support-index@2", before.citations)


def test_indexing_a_path_again_takes_what_is_gone_and_leaves_other_paths(place, indexed, pages, tmp_path):
    index(place, write_pages(tmp_path / "more", {"other.txt": "Another page of words."}))
    (pages / "sim.txt").unlink()
    (pages / "light.md").write_text("# Lights\n\nA green light is fine.")
    said = index(place, pages)
    assert said["documents"] == {"changed": 1, "deleted": 1}
    rows = table(place)
    assert set(rows) == {"refund.md", "light.md", "move/house.html", "other.txt"}
    assert (rows["light.md"].version, rows["refund.md"].version) == (2, 1)
    assert index(place, tmp_path / "pages" / ".." / "pages")["documents"] == {"changed": 0, "deleted": 0}
    assert index(place, remove=["other.txt"])["documents"] == {"changed": 0, "deleted": 1}
    with pytest.raises(NotFound, match=r"other\.txt"):
        index(place, remove=["other.txt"])


def test_a_file_that_can_not_be_read_deletes_nothing(place, indexed, pages):
    (pages / "sim.txt").write_bytes("Größe".encode("latin-1"))
    (pages / "new.txt").write_text("A new page of words.")
    said = index(place, pages)["documents"]
    assert [(one["file"], "UTF-8" in one["why"]) for one in said["rejected"]] == [("sim.txt", True)]
    assert "nothing was deleted" in said["note"]
    assert set(table(place)) == {*PAGES, "new.txt"}
    assert "ten euros" in table(place)["sim.txt"].text


@pytest.mark.parametrize(
    "make",
    [
        lambda folder: folder.mkdir(),
        lambda folder: (folder.mkdir(), (folder / "a.pdf").write_bytes(b"%PDF")),
        lambda folder: (folder.mkdir(), (folder / ".hidden.md").write_text("x")),
        lambda folder: (folder.mkdir(), (folder / "a.md").write_text("")),
        lambda folder: (folder.mkdir(), (folder / "a.txt").write_bytes(b"\xff\xfe\x00")),
        lambda folder: folder.write_text("x"),
    ],
)
def test_a_path_without_documents_is_refused_and_nothing_is_lost(place, indexed, pages, tmp_path, make):
    make(tmp_path / "none")
    with pytest.raises(BadInput, match="holds no document"):
        index(place, tmp_path / "none")
    assert set(table(place)) == set(PAGES)
    assert str(place.pointer.current()) == "support@1"


def test_a_recipe_without_intents_is_refused(place, tickets, recipe):
    other = recipe.model_copy(update={"heads": {"vector": recipe.heads["vector"]}})
    with pytest.raises(UsageError, match="'intent' of kind classify"):
        train(place, tickets, other)


def test_the_recipe_that_ships_has_the_heads():
    heads = Recipe.read(default_recipe()).heads
    assert heads["intent"].kind == "classify"
    assert "embed" in {head.kind for head in heads.values()}


# --- tickets ------------------------------------------------------------------------------------------


def test_tickets_keep_sides_apart_and_replies_need_agreement(tmp_path):
    rows = read_tickets(write_tickets(tmp_path / "t.csv"), tmp_path, seed=0)
    sides = [{row["question"] for row in side} for side in (rows.train, rows.valid, rows.test)]
    assert sum(map(len, sides)) == len(set.union(*sides)) == 90
    assert replies(rows) == {name: f"Reply to {name}." for name in ASKED}
    assert all(row["positive"] == row["reply"] for row in rows.train)
    with (tmp_path / "u.csv").open("w") as file:
        csv.writer(file).writerows(
            [
                ("text", "label"),
                *((f"{t}{e}", n) for n, texts in ASKED.items() for t in texts for e in ENDINGS),
            ]
        )
    other = read_tickets(tmp_path / "u.csv", tmp_path, seed=0)
    assert replies(other) == {}
    intent_of = {row["question"]: row["intent"] for row in other.train}
    assert all(intent_of[row["positive"]] == row["intent"] != "" for row in other.train)
    assert all(row["positive"] != row["question"] for row in other.train)
    assert read_tickets(tmp_path / "u.csv", tmp_path, seed=0) == other


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"subject,team\na,b\n", "question"),
        (b"question,intent\nhello,a\nhi,a\n", "too few"),
        ("question,intent\ngrüße,a\n".encode("utf-16"), "UTF-8"),
        (b"question,intent\n,a\n,b\n", "can be used"),
    ],
)
def test_tickets_that_can_not_teach(tmp_path, content, says):
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(BadInput, match=says):
        read_tickets(tmp_path / "t.csv", tmp_path, seed=0)


@pytest.mark.parametrize(
    ("own", "foreign", "low", "high"),
    [
        ([0.6, 0.7, 0.8], [0.1, 0.2], 0.2, 0.6),  # apart: between them
        ([0.3, 0.7, 0.8, 0.9], [0.1, 0.2, 0.4], 0.4, 0.7),  # one own question is given up
        ([], [i / 100 for i in range(100)], 0.95, 0.97),  # no own ones: what few foreign ones reach
        ([0.5], [0.5], 0.49, 0.51),
    ],
)
def test_the_cut_lies_where_it_parts_best(own, foreign, low, high):
    found = cut(np.array(own, np.float32), np.array(foreign, np.float32))
    assert low <= found <= high + 1e-6


# --- the commands -------------------------------------------------------------------------------------


def run(home, *arguments):
    command = [sys.executable, "-W", "ignore", "-m", "pipelines.cli", *map(str, arguments)]
    env = {"PATH": "/usr/bin:/bin", "TRILLIUM_HOME": str(home), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=300, check=False)


def test_the_commands_end_with_one_object(tmp_path, pages, tickets, base):
    home = tmp_path / "home"
    done = run(home, "index", "support", pages, "--base", base, "--json")
    assert done.returncode == 0, done.stderr[-2000:]
    said = json.loads(done.stdout.splitlines()[-1])
    assert (said["artifact"], said["promoted"], said["compared_with"]) == ("support@1", True, "structure")
    (tmp_path / "r.toml").write_text(f'base = "{base}"\n{RECIPE}')
    given = ["--tickets", tickets, "--recipe", tmp_path / "r.toml", "--no-promote", "--json"]
    done = run(home, "train", "support", *given)
    assert done.returncode == 0, done.stderr[-2000:]
    said = json.loads(done.stdout.splitlines()[-1])
    assert (said["artifact"], said["promoted"], said["reason"]) == (
        "support@2",
        False,
        "asked not to promote",
    )
    assert set(said) >= {"artifact", "promoted", "compared_with", "metrics"}
    idle = run(home, "work", "support", "--until-idle", "--json")
    assert json.loads(idle.stdout.splitlines()[-1])["reason"] == "nothing to do"


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["train", "support", "--tickets", "gone.csv"], 4, "gone.csv"),
        (["train", "support"], 2, "--tickets"),
        (["index", "support"], 2, "--remove"),
        (["index", "support", "gone"], 4, "gone"),
    ],
)
def test_bad_input_says_what_to_do(tmp_path, arguments, code, says):
    done = run(tmp_path / "home", *arguments)
    assert (done.returncode, says in done.stderr) == (code, True), done.stderr[-500:]
    assert "Traceback" not in done.stderr
