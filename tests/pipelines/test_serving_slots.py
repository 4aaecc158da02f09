"""With `[compress]` an application is measured and published on the engines that serve it."""

import csv
import json

import numpy as np
import pytest
from structlog.testing import capture_logs

from pipelines import serving_slots
from pipelines.answering import publishing
from pipelines.answering.tickets import read_tickets
from pipelines.flow import workplace
from pipelines.serving_slots import with_slots
from services.support.intents import Intents
from shared.finetuning.recipe import Recipe
from shared.models.card import GRAPH, ModelCard
from shared.models.text_model import TextModel
from shared.settings import load_settings
from shared.testing.tiny_models import tiny_bert, tiny_rows
from shared.testing.tiny_trained import tiny_trained

HEADS = {
    "intent": {"kind": "classify", "data": "rows"},
    "tags": {"kind": "multilabel", "data": "rows", "label": "tags"},
    "embed": {"kind": "embed"},
}


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(serving_slots, "SECONDS", 0.0)


@pytest.fixture
def place(tmp_path):
    return workplace(load_settings({"home": str(tmp_path / "home")}, env={}), "support")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_trained(tmp_path_factory.mktemp("model"))


def recipe(**compress):
    return Recipe.parse({"heads": HEADS, "method": {"kind": "frozen"}, "compress": compress})


def slots(place, folder, rows, asked):
    return with_slots(place, asked, folder, "data", "text", rows[1::2], rows[::2])


def test_without_the_table_or_a_graph_the_model_stays_as_it_is(place, folder, tmp_path):
    assert slots(place, folder, tiny_rows(), recipe().model_copy(update={"compress": None})) == folder
    with capture_logs() as lines:
        assert slots(place, tmp_path, tiny_rows(), recipe()) == tmp_path
    assert [line["log_level"] for line in lines] == ["warning"]
    assert not (place.work / "compressed").exists()


def test_slots_are_filled_once_and_a_killed_run_is_no_obstacle(place, folder):
    (place.work / "compressed").mkdir(parents=True)
    (place.work / "compressed" / "half").write_text("of a model")
    done = slots(place, folder, tiny_rows(), recipe(limit=0.5))
    assert done != folder
    assert not (done / "half").exists()
    assert set(ModelCard.read(done).slots) == {"interactive", "bulk"}
    table = json.loads((done / "compress.json").read_text())["table"]
    assert {name: one["metric"] for name, one in table[0]["heads"].items()} == {
        "intent": "accuracy",
        "tags": "micro_f1",
        "embed": "top-10 agreement",
    }
    written = (done / "compress.json").stat().st_mtime_ns
    assert slots(place, folder, tiny_rows(), recipe(limit=0.5)) == done
    assert (done / "compress.json").stat().st_mtime_ns == written


def test_labels_that_training_never_had_do_not_stop_it(place, folder):
    rows = tiny_rows()
    rows[1] = {"text": "a new thing", "label": "new", "tags": ["new", "late"]}
    done = slots(place, folder, rows, recipe(limit=0.5))
    assert set(ModelCard.read(done).slots) == {"interactive", "bulk"}


def test_few_rows_are_measured_on_texts_that_are_made_up(place, folder):
    done = slots(place, folder, tiny_rows()[:6], recipe(limit=0.5))
    table = json.loads((done / "compress.json").read_text())["table"]
    assert table[0]["heads"]["intent"]["metric"] == "same decision"


def test_fewer_layers_are_taught_on_the_training_rows(place, folder):
    done = slots(place, folder, tiny_rows(), recipe(limit=1.0, layers=[0]))
    told = json.loads((done / "shrink.json").read_text())
    assert told["layers"] == [0]
    assert told["parameters"][1] < told["parameters"][0]
    assert set(ModelCard.read(done).slots) == {"interactive", "bulk"}


def test_limits_of_the_support_bot_hold_for_the_engine_that_answers(place, tmp_path):
    rows = [(f"{hello}{row['text']}", row["label"]) for row in tiny_rows() for hello in ("", "hi ", "well ")]
    with (tmp_path / "tickets.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("question", "intent"), *rows])
    base = tiny_bert(tmp_path / "base", [text for text, _ in rows])
    asked = Recipe.parse(
        {
            "base": str(base),
            "data": {"tickets": {"text": "question"}},
            "heads": {
                "intent": {"kind": "classify", "data": "tickets", "label": "intent"},
                "vector": {"kind": "embed"},
            },
            "method": {"kind": "frozen"},
            "compress": {"limit": 0.5},
        }
    )
    publishing.train(place, tmp_path / "tickets.csv", asked, promote=True, progress=False)
    live = place.store.open("support").parent("model")
    model = TextModel.load(live.path)
    assert model.served_by != "onnx fp32" or ModelCard.read(live.path).slots["interactive"].path == GRAPH
    own = [row["question"] for row in read_tickets(tmp_path / "tickets.csv", tmp_path, seed=0).valid]
    intents = Intents.load(live.path)
    assert intents.card.rule is not None
    known = [intents.recognises(intents.read(text, model.run([text], query=True))) for text in own]
    assert np.mean(known) >= 0.9
    stored = np.load(live.path / publishing.OWN)
    assert np.allclose(stored, model.run(own, query=True).vectors, atol=1e-3)
