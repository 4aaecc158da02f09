"""The sentiment flow end to end on a tiny base and the embedded broker: labels in, alerts out."""

import csv
import json
import random
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from pipelines.data import split
from pipelines.flow import workplace
from pipelines.monitoring.feeding import feed
from pipelines.monitoring.labelled import read_labelled
from pipelines.monitoring.publishing import fitting, run
from pipelines.monitoring.working import work
from pipelines.sentiment import default_recipe
from services.sentiment.app import build
from services.sentiment.store import TABLES, AlertRow, NoticeRow, open_database
from services.sentiment.topics import read_topics
from shared.artifacts.store import ArtifactStore
from shared.clock import to_text
from shared.errors import BadInput, Unavailable
from shared.finetuning.recipe import Recipe
from shared.settings import load_settings
from shared.stream.broker import EmbeddedBroker
from shared.stream.subscription import Subscription
from shared.testing.tiny_models import tiny_bert

END = datetime(2026, 3, 20, 12, tzinfo=UTC)
MOODS = {
    "negative": ("falls badly", "is a failure", "loses much", "sinks in fear"),
    "neutral": ("opens a hall", "moves a desk", "names a date", "prints a list"),
    "positive": ("wins a prize", "is a success", "gains much", "rises in joy"),
}
SUBJECTS = {
    "banks": ("Alpha Bank", "Beta Loans", "Gamma Credit"),
    "ships": ("Delta Port", "Epsilon Ship", "Zeta Dock"),
}
RECIPE = """
base = "{base}"
data.news = {{}}
heads.sentiment.kind = "classify"
heads.sentiment.data = "news"
heads.sentiment.label = "sentiment"
heads.sentiment.labels = ["negative", "neutral", "positive"]
heads.topics = {{ kind = "multilabel", data = "news", label = "topics" }}
method = {{ kind = "frozen" }}
train = {{ precision = "fp32", max_tokens = 32 }}
[labels]
bear = "negative"
"""


def headlines():
    return [
        (f"{subject} {mood}{ending}", feeling, topic)
        for topic, subjects in SUBJECTS.items()
        for subject in subjects
        for feeling, moods in MOODS.items()
        for mood in moods
        for ending in ("", " today", " again")
    ]


def write_rows(path, rows, columns=("text", "sentiment", "topics")):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([columns, *rows])
    return path


def write_stream(path):
    """Twelve days of quiet news and an hour of bad news on banks, a broken date, and a duplicate."""
    rng, items = random.Random(5), []
    every = headlines()
    for hour in range(0, 12 * 24, 2):
        ts = END - timedelta(days=12) + timedelta(hours=hour)
        items.append((ts, rng.choice(every)[0]))
    bad = [text for text, feeling, topic in every if (feeling, topic) == ("negative", "banks")]
    items += [(END - timedelta(minutes=120 - 4 * n), bad[n]) for n in range(20)]
    rows = [
        {"id": f"n{n}", "ts": to_text(ts), "title": title, "source": "wire"}
        for n, (ts, title) in enumerate(sorted(items))
    ]
    rows += [{"id": "broken", "ts": "26-FEB-1987 15:01", "title": "Alpha Bank moves a desk"}, rows[-1]]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny_bert(tmp_path_factory.mktemp("base"), [text for text, _, _ in headlines()])


@pytest.fixture(scope="module")
def trained(base, tmp_path_factory):
    """A home with a live bundle, its recipe, and what the training printed."""
    folder = tmp_path_factory.mktemp("trained")
    recipe = folder / "recipe.toml"
    recipe.write_text(RECIPE.format(base=base), "utf-8")
    data = write_rows(folder / "data.csv", headlines())
    settings = load_settings({"home": str(folder / "home")}, env={})
    place = workplace(settings, "sentiment")
    result = run(place, data, Recipe.read(recipe), topics=None, promote=True, progress=False)
    return settings, recipe, data, result


def test_a_training_publishes_a_bundle_with_both_heads_and_its_topics(trained):
    settings, _, _, result = trained
    assert result["promoted"], result
    assert result["artifact"] == "sentiment@1"
    assert result["compared_with"] == "TF-IDF + linear SVM"
    assert result["metrics"]["macro_f1"] == result["metrics"]["topics"]["macro_f1"] == 1.0
    bundle = ArtifactStore(settings.home / "artifacts").open("sentiment")
    assert [one.name for one in read_topics(bundle.path / "topics.csv")] == ["banks", "ships"]
    model = bundle.parent("model")
    assert model.manifest.data_hash
    assert model.manifest.recipe_hash
    (scored,) = (
        build(settings, ArtifactStore(settings.home / "artifacts"))
        .live.current()[1]
        .score([article("Beta Loans sinks in fear")])
    )
    assert (scored.label, scored.topics, scored.model) == ("negative", ("banks",), "sentiment@1")


def article(title):
    from services.sentiment.domain import Article

    return Article("a", END, title)


def test_a_second_training_is_compared_with_the_live_one(trained):
    settings, recipe, data, _ = trained
    place = workplace(settings, "sentiment")
    again = run(place, data, Recipe.read(recipe), topics=None, promote=False, progress=False)
    assert (again["compared_with"], again["promoted"], again["reason"]) == (
        "sentiment@1",
        False,
        "asked not to promote",
    )


def test_a_stream_goes_through_the_broker_and_its_surge_is_alerted(trained, tmp_path):
    settings, _, _, _ = trained
    with EmbeddedBroker() as broker:
        settings = settings.model_copy(
            update={"kafka": settings.kafka.model_copy(update={"bootstrap": broker.bootstrap})}
        )
        path = write_stream(tmp_path / "stream.jsonl")
        assert feed(settings, path).sent == 166
        done = work(settings, until_idle=True)
        assert (done["items"], done["duplicates"], done["dead_letters"]) == (164, 1, 1)
        assert (done["late"], done["alerts"]) == (0, 1)
        with open_database(settings) as db, db.read() as session:
            (alert,) = session.scalars(select(AlertRow))
            (letter,) = session.scalars(select(TABLES.dead_letters))
            notices = list(session.scalars(select(NoticeRow)))
        assert alert.series == "banks"
        assert END - timedelta(hours=2) < alert.opened <= END
        assert letter.key == "broken"
        assert notices
        assert all(notice.sent for notice in notices)
        for topic, least in (("sentiment.alerts", len(notices)), ("sentiment.dead-letters", 1)):
            with Subscription(broker.bootstrap, "test", [topic]) as subscription:
                assert sum(subscription.end_offsets(subscription.partitions()).values()) >= least
        # Fed again and worked again, everything is known.
        feed(settings, path)
        again = work(settings, until_idle=True)
        assert (again["items"], again["alerts"], again["duplicates"]) == (164, 1, 166)


def test_without_topics_keywords_find_them(base, tmp_path):
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(RECIPE.format(base=base), "utf-8")
    rows = [(text, "bear" if feeling == "negative" else feeling.upper()) for text, feeling, _ in headlines()]
    data = write_rows(tmp_path / "data.csv", rows, ("text", "sentiment"))
    topics = tmp_path / "topics.csv"
    topics.write_text("name,description,keywords\nharbours,,port;dock\n", "utf-8")
    settings = load_settings({"home": str(tmp_path / "home")}, env={})
    place = workplace(settings, "sentiment")
    assert run(place, data, Recipe.read(recipe), topics=topics, promote=True, progress=False)["promoted"]
    scorer = build(settings, ArtifactStore(settings.home / "artifacts")).live.current()[1]
    assert list(scorer.model.heads) == ["sentiment"]
    assert [one.topics for one in scorer.score([article("Zeta Dock gains much"), article("Alpha Bank")])] == [
        ("harbours",),
        (),
    ]


def test_rows_are_split_by_text_and_mapped(tmp_path):
    recipe = Recipe.parse(
        {
            "data": {"news": {}},
            "heads": {"sentiment": {"kind": "classify", "data": "news"}},
            "labels": {"bear": "negative"},
        }
    )
    rows = [(text, "Bear" if f == "negative" else f, t) for text, f, t in headlines()]
    with pytest.raises(
        BadInput, match=r"label 'Bear' is not one of negative, neutral, positive; map it .*\(line 2\)"
    ):
        read_labelled(write_rows(tmp_path / "a.csv", rows), recipe, tmp_path)
    rows = [(text, "bear" if f == "negative" else f, f"{t}|{t}|more") for text, f, t in headlines()]
    found = read_labelled(write_rows(tmp_path / "b.csv", rows), recipe, tmp_path)
    assert {row["sentiment"] for row in found.train} == {"negative", "neutral", "positive"}
    assert found.train[0]["topics"] in (["banks", "more"], ["ships", "more"])
    assert all(split(row["text"]) == "test" for row in found.test)


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ([("a", "positive", "")] * 5, "at least 30"),
        ([(f"text {n}", "positive", "") for n in range(60)], "negative or neutral"),
        ([(f"text {n}", "positive", "all") for n in range(60)], "counts all items"),
        ([("the same text", "positive", "")] * 60, "no training row|no row for"),
    ],
)
def test_data_that_can_not_be_learned_from_is_refused(tmp_path, rows, why):
    recipe = Recipe.read(default_recipe())
    with pytest.raises(BadInput, match=why):
        read_labelled(write_rows(tmp_path / "a.csv", rows), recipe, tmp_path)


def test_a_recipe_without_the_head_is_refused(tmp_path):
    rows = read_labelled(write_rows(tmp_path / "a.csv", headlines()), Recipe.read(default_recipe()), tmp_path)
    other = Recipe.parse({"data": {"news": {}}, "heads": {"mood": {"kind": "classify", "data": "news"}}})
    with pytest.raises(BadInput, match="needs a head 'sentiment'"):
        fitting(other, rows)
    assert set(fitting(Recipe.read(default_recipe()), rows).heads) == {"sentiment", "topics"}


def test_a_worker_without_a_broker_or_a_bundle_says_what_to_do(tmp_path):
    settings = load_settings({"home": str(tmp_path)}, env={})
    with pytest.raises(Unavailable, match="TRILLIUM_KAFKA__BOOTSTRAP"):
        work(settings, until_idle=True)
    with EmbeddedBroker() as broker:
        settings = load_settings({"home": str(tmp_path), "kafka": {"bootstrap": broker.bootstrap}}, env={})
        with pytest.raises(Unavailable, match="trillium train sentiment"):
            work(settings, until_idle=True)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["work", "sentiment", "--until-idle"], 8, "TRILLIUM_KAFKA__BOOTSTRAP"),
        (["feed", "sentiment", "none.jsonl"], 4, "no file"),
        (["feed", "sentiment", "none.jsonl", "--speed", "quick"], 2, "60x"),
        (["train", "sentiment", "--data", "none.csv"], 4, "no file"),
    ],
)
def test_the_command_line_ends_with_one_clear_line(tmp_path, arguments, code, said):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "pipelines.cli", *arguments], capture_output=True, text=True
    )
    assert done.returncode == code, done.stderr
    assert said in done.stderr.splitlines()[-1]
