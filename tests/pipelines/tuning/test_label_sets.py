import csv
import json

import numpy as np
import pytest
from typer.testing import CliRunner

from pipelines.commands.predict import command as predict
from shared.finetuning import calibrate, cards
from shared.finetuning.recipe import Recipe
from shared.finetuning.rows import Rows
from shared.finetuning.train import finetune
from shared.models.card import ModelCard, Slot
from shared.models.heads import HeadSpec
from shared.testing.tiny_models import tiny_bert, tiny_rows

LABELS = ["a", "b", "c"]


def noisy(count, seed):
    """Probabilities that are right about themselves, and truths drawn from them."""
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet([1.0, 0.6, 0.4], count).astype(np.float32)
    truth = np.asarray([rng.choice(3, p=row / row.sum()) for row in shares.astype(np.float64)])
    return shares, truth.astype(np.float64)


def test_sets_hold_what_they_promise_on_new_rows():
    fitted, measured = noisy(600, 1), noisy(2000, 2)
    head = HeadSpec(name="h", kind="classify", labels=LABELS, set_cut=calibrate.set_cut(*fitted))
    sets = [head.label_set(row) for row in measured[0]]
    held = np.mean([LABELS[int(t)] in own for own, t in zip(sets, measured[1], strict=True)])
    assert 0.87 <= held <= 0.94
    assert 1 < np.mean([len(own) for own in sets]) < 3
    stated = calibrate.set_coverage(*fitted)
    assert stated.coverage == pytest.approx(held, abs=0.04)


def test_no_row_that_set_the_cut_falls_out_by_rounding():
    shares, truth = noisy(400, 3)
    head = HeadSpec(name="h", kind="classify", labels=LABELS, set_cut=calibrate.set_cut(shares, truth))
    held = [LABELS[int(t)] in head.label_set(row) for row, t in zip(shares, truth, strict=True)]
    assert np.mean(held) >= 0.9


@pytest.mark.parametrize(
    ("cut", "row", "wanted"),
    [
        (0.3, [0.5, 0.3, 0.2], ["a", "b"]),  # at the cut belongs
        (0.9, [0.2, 0.5, 0.3], ["b"]),  # the most probable one always does
        (0.4, [0.4, 0.2, 0.4], ["a", "c"]),  # equal ones keep the order of the labels
        (0.0, [0.1, 0.7, 0.2], ["b", "c", "a"]),
        (None, [0.1, 0.7, 0.2], ["b", "c", "a"]),
    ],
)
def test_a_set_is_cut_from_the_most_probable_down(cut, row, wanted):
    head = HeadSpec(name="h", kind="classify", labels=LABELS, set_cut=cut)
    assert head.label_set(np.asarray(row, np.float32)) == wanted


def test_few_rows_set_no_cut():
    assert calibrate.set_cut(*noisy(19, 0)) is None


def test_a_slot_has_a_cut_of_its_own():
    head = HeadSpec(name="h", kind="classify", labels=LABELS, set_cut=0.2)
    about = {"engine": "onnx", "precision": "int8", "path": "p", "threads": 1, "self_test": "s"}
    assert Slot(**about, tolerance=0.1, set_cuts={"h": 0.3}).calibrated(head).set_cut == 0.3
    assert Slot(**about, tolerance=0.1).calibrated(head).set_cut == 0.2


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    home = tmp_path_factory.mktemp("sets")
    rows = tiny_rows()
    base = tiny_bert(home / "base", [row["text"] for row in rows])
    recipe = Recipe.parse(
        {
            "base": str(base),
            "heads": {"intent": {"kind": "classify", "data": "d"}},
            "method": {"kind": "frozen"},
        }
    )
    finetune(recipe, {"d": Rows(rows[::2], rows[1::2])}, home / "model", home=home, progress=False)
    return home / "model"


def test_predict_gives_the_set_and_the_card_states_it(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("TRILLIUM_HOME", str(tmp_path))
    file = tmp_path / "texts.csv"
    with file.open("w", newline="", encoding="utf-8") as out:
        csv.writer(out).writerows([["text"], ["my card is lost please"], ["send money home now"]])
    import typer

    app = typer.Typer()
    app.command()(predict)
    said = CliRunner().invoke(app, [str(folder), str(file)])
    answers = [json.loads(line) for line in said.stdout.splitlines()]
    cut = ModelCard.read(folder).heads[0].set_cut
    assert cut is not None
    for answer in answers:
        assert answer["set"][0] == answer["label"]
        over = {label for label, p in answer["probabilities"].items() if p >= cut}
        assert set(answer["set"]) == over | {answer["label"]}
    told = json.loads((folder / "evaluation.json").read_text("utf-8"))["intent"]
    assert told["sets"]["promised"] == 0.9
    assert told["intervals"]["accuracy"][0] == told["accuracy"]
    assert "Label sets: `predict` gives the set of labels" in cards.render(folder, "x")
