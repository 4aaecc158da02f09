"""The flow end to end on a tiny base: files in, a bundle out, served by the real service."""

import csv
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from starlette.testclient import TestClient

from pipelines.flow import workplace
from pipelines.recommending.publishing import compact, index_items
from pipelines.recommending.reading import ORDER_START, read_events, read_items
from pipelines.samples.recommender.generate import HERE, write
from services.recommender.api import create
from services.recommender.app import build
from services.recommender.client import RecommenderClient
from services.recommender.domain import Asked, Item
from services.recommender.store import EventRow, catalogue_rows, ledger, open_database, to_document
from shared.artifacts.store import ArtifactStore
from shared.clock import SystemClock, parse_time
from shared.errors import BadInput, NotFound, UsageError
from shared.settings import load_settings
from shared.storage.engine import database_for
from shared.storage.migrate import open_checked
from shared.testing.tiny_models import tiny_bert
from shared.web.accounts import Accounts
from shared.web.accounts import Base as AccountsBase

NOW = parse_time("2026-06-01")[0]
RECIPE = """
base = "all-MiniLM-L6-v2"
data.pairs = { text = "anchor" }
heads.embed = { kind = "embed", data = "pairs" }
train = { epochs = 1, batch = 16, rate = 1e-3, precision = "fp32" }
"""


def write_csv(path, head, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([head, *rows])
    return path


def town(folder, users=80):
    """Bakers and campers: each takes five of ten old things of their kind, then one that is new to all."""
    rng = np.random.default_rng(0)
    words = {"a": "bread flour oven", "b": "tent stove rain"}
    items = [
        (f"{shelf}{n}", f"{words[shelf].split()[n % 3]} number {n}", words[shelf], "x|y", n * 1.5)
        for shelf in "ab"
        for n in range(12)
    ]
    events = [
        (f"u{user}", f"{'ab'[user % 2]}{item}", "buy", f"2026-03-{3 + 2 * step:02}T{user % 24:02}:00:00Z")
        for user in range(users)
        for step, item in enumerate([*rng.permutation(10)[:5], 10 + user // 2 % 2])
    ]
    write_csv(folder / "items.csv", ["item_id", "title", "description", "tags", "price"], items)
    write_csv(folder / "events.csv", ["user_id", "item_id", "event", "ts"], events)
    return folder


def run(home, *arguments):
    command = [sys.executable, "-W", "ignore", "-m", "pipelines.cli", *map(str, arguments)]
    env = {"PATH": "/usr/bin:/bin", "TRILLIUM_HOME": str(home), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=300, check=False)


def last(done):
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return town(tmp_path_factory.mktemp("files"))


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny_bert(tmp_path_factory.mktemp("base"), ["bread flour oven tent stove rain number 0 1 2 3"])


@pytest.fixture(scope="module")
def trained(tmp_path_factory, files, base):
    """A home with a trained bundle, and what the command said."""
    home = tmp_path_factory.mktemp("trained") / "home"
    recipe = files / "recipe.toml"
    recipe.write_text(RECIPE)
    given = ["--items", files / "items.csv", "--events", files / "events.csv"]
    return home, last(run(home, "train", "recommender", *given, "--recipe", recipe, "--base", base, "--json"))


def serving(home):
    settings = load_settings({"home": str(home)}, env={})
    return build(settings, ArtifactStore(home / "artifacts"))


def test_training_publishes_a_bundle_that_beats_the_plain_methods(trained):
    home, said = trained
    assert (said["artifact"], said["promoted"]) == ("recommender@1", True)
    assert said["compared_with"] in ("popularity", "item-kNN", "item-kNN, recency")
    assert said["metrics"]["ndcg_at_20"] > said["metrics"]["plain"]["value"]
    assert set(said["metrics"]["validation"]["encoders"]) == {"frozen", "tuned"}
    assert said["metrics"]["encoder"] in ("frozen", "tuned")
    bundle = ArtifactStore(home / "artifacts").open("recommender")
    assert set(bundle.manifest.parents) == {"model", "index", "ranker"}
    assert not [
        path for path in (home / "artifacts").rglob("*") if path.suffix in (".pkl", ".pickle", ".npz")
    ]


def test_what_was_trained_serves_people_by_their_taste(trained):
    app = serving(trained[0])
    answer = app.recommend(Asked(user="u0", k=4))
    assert answer.served_by == "personal"
    assert {item.item_id[0] for item in answer.items} == {"a"}
    assert all(item.reasons for item in answer.items)
    assert app.recommend(Asked(user="nobody")).served_by == "popular"
    app.db.close()


def test_training_again_compares_with_live_and_repeats_no_finished_step(trained, files, base):
    home, _ = trained
    given = [
        "--items",
        files / "items.csv",
        "--events",
        files / "events.csv",
        "--recipe",
        files / "recipe.toml",
    ]
    done = run(home, "train", "recommender", *given, "--base", base, "--no-promote", "--json")
    said = last(done)
    assert said["compared_with"] == "recommender@1"
    assert (said["promoted"], said["reason"]) == (False, "asked not to promote")
    assert done.stderr.count("step skipped") == 2
    db = open_database(load_settings({"home": str(home)}, env={}))
    with db.read() as session:
        assert session.query(EventRow).count() == 480
    db.close()


def test_an_index_alone_serves_and_folds_in_what_the_api_changed(tmp_path, trained, files, base):
    home, path = tmp_path / "home", tmp_path / "items.csv"
    path.write_bytes((files / "items.csv").read_bytes())
    shutil.copytree(trained[0] / "work", home / "work")  # the base is exported there
    said = last(run(home, "index", "recommender", path, "--base", base, "--json"))
    assert (said["artifact"], said["promoted"], said["compared_with"]) == ("recommender@1", True, "structure")
    place = workplace(load_settings({"home": str(home)}, env={}), "recommender")
    assert compact(place) is None
    db = open_database(place.settings)
    with db.write() as session:
        ledger().delete(session, ["a1"])
    assert last(run(home, "work", "recommender", "--until-idle", "--json"))["artifact"] == "recommender@2"
    app = serving(home)
    answer = app.recommend(Asked(text="bread flour", k=20))
    assert answer.index == "recommender-index@2"
    assert len(answer.items) == 20
    assert "a1" not in {item.item_id for item in answer.items}
    app.db.close()

    path.write_text("\n".join(line for line in path.read_text().splitlines() if line[:2] not in ("b8", "b9")))
    index_items(place, path, ["a0"], base=None, promote=True)
    left = {row.id for row in catalogue_rows(db)[0]}
    assert {f"{shelf}{n}" for shelf in "ab" for n in range(10)} - left == {"a0", "b8", "b9"}
    with pytest.raises(NotFound, match="nothing"):
        index_items(place, path, ["nothing"], base=None, promote=True)
    assert {row.id for row in catalogue_rows(db)[0]} == left
    db.close()


def test_items_that_came_later_are_compared_with_the_catalogue_that_was_learned(tmp_path, trained, base):
    home = tmp_path / "home"
    shutil.copytree(trained[0] / "work", home / "work")  # the base is exported there
    words = ["bread flour oven", "tent stove rain"]
    rows = [(f"i{n}", f"number {n}", words[n % 2]) for n in range(40)]
    path = write_csv(tmp_path / "items.csv", ["item_id", "title", "description"], rows)
    place = workplace(load_settings({"home": str(home)}, env={}), "recommender")
    index_items(place, path, [], base=str(base), promote=True)
    with open_checked(database_for(place.settings, "accounts", AccountsBase.metadata)) as accounts:
        _, key = Accounts(accounts).create_key("test", ["recommender:viewer"])
    with TestClient(create(place.settings)) as http, open_database(place.settings) as db:
        client = RecommenderClient("http://test", token=key, http=http)

        def come(rows):
            with db.write() as session:
                ledger().upsert(session, [to_document(Item(*row)) for row in rows])

        def told():
            found = client.drift()
            return found["reference"], found["current"], {one["what"] for one in found["figures"]}

        assert told() == (40, 0, set())
        come([(f"i{n}", f"number {n}", f"{words[n % 2]} 0") for n in range(7)])
        assert told() == (40, 7, set())
        come([(f"new{n}", "rain rain", "rain " * 30) for n in range(30)])
        assert told() == (40, 37, {"length", "vector"})
        assert client.drift()["moved"]
        compact(place)  # a newer index, the same encoder: what came after its training stays what came
    with TestClient(create(place.settings)) as http:
        assert RecommenderClient("http://test", token=key, http=http).drift()["current"] == 37


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--items", "gone.csv", "--events", "gone.csv"], 4, "gone.csv"),
        (["--items", "{items}", "--events", "{items}"], 3, "user_id"),
        (["--items", "{items}", "--events", "{empty}"], 3, "empty"),
        (["--items", "{items}", "--events", "{events}", "--like", "value>>4"], 2, "value>=4"),
        (["--items", "{items}"], 2, "--events"),
    ],
)
def test_bad_input_says_what_to_do(tmp_path, files, arguments, code, says):
    (tmp_path / "empty.csv").write_text("")
    places = {"items": files / "items.csv", "events": files / "events.csv", "empty": tmp_path / "empty.csv"}
    done = run(tmp_path / "home", "train", "recommender", *(one.format(**places) for one in arguments))
    assert (done.returncode, says in done.stderr) == (code, True), done.stderr[-500:]
    assert "Traceback" not in done.stderr


def test_items_keep_other_columns_and_bad_rows_are_kept_aside(tmp_path):
    rows = [("1", "One", "first", "a; b|a", "9"), ("", "Nameless", "", "", ""), ("1", "Uno", "", "", "")]
    path = write_csv(tmp_path / "i.csv", ["ID", "name", "text", "tags", "colour"], rows)
    (item,), table = read_items(path, tmp_path)
    assert (item.title, item.description) == ("Uno", "")
    assert [line for line, _ in table.rejected] == [3]
    assert list((tmp_path / "rejected").iterdir())
    path = write_csv(
        tmp_path / "j.csv", ["item_id", "title", "tags", "colour"], [("1", "One", "a; b|a", "red")]
    )
    (item,), _ = read_items(path, tmp_path)
    assert (item.tags, dict(item.attributes), item.text) == (("a", "b"), {"colour": "red"}, "One. a, b")


def test_events_without_times_keep_their_order(tmp_path):
    rows = [
        ("u", "x", "buy", "4"),
        ("u", "y", "buy", ""),
        ("u", "z", "stare", ""),
        ("u", "z", "view", "many"),
    ]
    events = read_events(
        write_csv(tmp_path / "e.csv", ["user_id", "item_id", "event", "value"], rows), tmp_path, NOW
    )
    assert events.ordered
    assert [(a.item_id, a.value) for a in events.acts] == [("x", 4.0), ("y", None)]
    assert (events.acts[1].ts - ORDER_START).total_seconds() == 1
    assert events.rejected == 2


def test_events_with_times_are_sorted_and_one_without_is_refused(tmp_path):
    rows = [("u", "x", "buy", "2026-02-01"), ("u", "y", "buy", "1767225600"), ("u", "z", "buy", "")]
    path = write_csv(tmp_path / "e.csv", ["user_id", "item_id", "event", "ts"], rows)
    events = read_events(path, tmp_path, NOW)
    assert [a.item_id for a in events.acts] == ["y", "x"]
    assert (events.ordered, events.rejected) == (False, 1)


def test_no_usable_row_is_an_error(tmp_path):
    path = write_csv(
        tmp_path / "e.csv", ["user_id", "item_id", "event", "ts"], [("u", "x", "stare", "2026-02-01")]
    )
    with pytest.raises(BadInput, match="stare"):
        read_events(path, tmp_path, NOW)


def test_the_samples_are_what_their_generator_writes(tmp_path):
    write(tmp_path)
    for name in ("items.csv", "events.csv"):
        assert (tmp_path / name).read_bytes() == (HERE / name).read_bytes()
    assert sum((HERE / name).stat().st_size for name in ("items.csv", "events.csv")) < 2_000_000


def test_the_samples_hold_enough_and_their_texts_differ(tmp_path):
    items, table = read_items(HERE / "items.csv", tmp_path)
    events = read_events(HERE / "events.csv", tmp_path, SystemClock().now())
    assert (len(table.rejected), events.rejected) == (0, 0)
    assert len(items) >= 300
    assert len({act.user_id for act in events.acts}) >= 200
    assert {act.kind for act in events.acts} == {"view", "click", "comment", "share", "buy"}
    sets = [frozenset(to_document(item).text.lower().split()) for item in items]
    alike = [
        (i, j)
        for i in range(len(sets))
        for j in range(i)
        if len(sets[i] & sets[j]) > 0.8 * len(sets[i] | sets[j])
    ]
    assert alike == []


def test_a_like_rule_that_is_none_is_refused_before_anything_is_read():
    from services.recommender.events import Like

    with pytest.raises(UsageError):
        Like.parse("price>2")
