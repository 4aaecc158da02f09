"""Which rows heads are fitted on before the body is tuned, where there are very many."""

from collections import Counter

import pytest
import torch
from safetensors.torch import load_file

from shared.finetuning import pace, probe
from shared.finetuning.bases import resolve
from shared.finetuning.examples import Example, examples, head_specs
from shared.finetuning.rows import Rows
from shared.finetuning.train import finetune, load

MANY, RARE = 300, 4


@pytest.fixture
def several(recipe, tmp_path):
    """Return a model with a classify and a multilabel head, and rows of which few have label 2."""
    data = {"rows": Rows([{"text": "a", "label": name, "tags": "x|y"} for name in "abc"], [])}
    heads = {
        "intent": {"kind": "classify", "data": "rows"},
        "tags": {"kind": "multilabel", "data": "rows", "label": "tags"},
    }
    made = recipe(heads=heads)
    specs = head_specs(made, data)
    model, _, _ = load(resolve(made.base, home=tmp_path), made, specs)
    rows = [Example(f"text {i}", {"intent": i % 2, "tags": [1.0, 0.0]}) for i in range(MANY)]
    for i in range(RARE):
        rows[i * 70] = Example(f"rare {i}", {"intent": 2, "tags": [0.0, 1.0]})
    return model, rows


def test_all_rows_are_read_up_to_a_limit(several):
    model, rows = several
    assert probe.start_rows(model, rows, 0) == list(range(MANY))


def test_of_more_rows_a_draw_is_read_with_some_of_every_label(several, monkeypatch):
    monkeypatch.setattr(probe, "MOST", 30)
    monkeypatch.setattr(probe, "EACH", 5)
    model, rows = several
    chosen = probe.start_rows(model, rows, 0)
    met = Counter(rows[i].targets["intent"] for i in chosen)
    assert chosen == sorted(set(chosen))
    assert met[2] == RARE
    assert 30 <= len(chosen) <= 30 + RARE
    assert chosen == probe.start_rows(model, rows, 0) != probe.start_rows(model, rows, 1)


def test_only_those_rows_are_read_where_the_body_is_tuned_after(recipe, rows, tmp_path, monkeypatch):
    read = []
    encode = probe.encode

    def counted(model, feed, texts, **how):
        read.append(len(texts))
        return encode(model, feed, texts, **how)

    monkeypatch.setattr(probe, "encode", counted)
    monkeypatch.setattr(probe, "MOST", 10)
    monkeypatch.setattr(probe, "EACH", 1)
    made = recipe(heads={"intent": {"kind": "classify", "data": "rows"}}, train={"steps": 1})
    every = len(examples(made, head_specs(made, {"rows": rows}), {"rows": rows}, "train"))
    finetune(made, {"rows": rows}, tmp_path / "tuned", home=tmp_path, progress=False)
    assert len(read) == 1
    assert 10 <= read.pop() < every
    frozen = recipe(heads={"intent": {"kind": "classify", "data": "rows"}}, method={"kind": "frozen"})
    finetune(frozen, {"rows": rows}, tmp_path / "frozen", home=tmp_path, progress=False)
    assert read == [every]


def test_the_resolved_recipe_keeps_how_many_rows_and_makes_the_same_model(
    recipe, rows, tmp_path, monkeypatch
):
    monkeypatch.setattr(pace, "REHEARSAL", 2)
    monkeypatch.setattr(pace, "FEWEST", 10)
    monkeypatch.setattr(pace, "_seconds", lambda *_: 1.0)
    heads = {"intent": {"kind": "classify", "data": "rows"}}
    asked = recipe(heads=heads, train={"minutes": 0.4, "blend": "auto", "epochs": 4})
    report = finetune(asked, {"rows": rows}, tmp_path / "first", home=tmp_path, progress=False)
    train = report.recipe.train
    assert (train.minutes, train.steps, train.start_rows) == (None, 2, 24 * pace.READING * 3)
    monkeypatch.undo()
    again = finetune(report.recipe, {"rows": rows}, tmp_path / "again", home=tmp_path, progress=False)
    assert again.recipe_hash == report.recipe_hash
    models = [load_file(tmp_path / name / "heads.safetensors") for name in ("first", "again")]
    assert all(torch.equal(models[0][name], models[1][name]) for name in models[0])


def test_recipes_that_say_nothing_of_it_keep_their_hash(recipe):
    assert (
        recipe().hash()
        == recipe(train={"start_rows": None}).hash()
        != recipe(train={"start_rows": 5000}).hash()
    )
