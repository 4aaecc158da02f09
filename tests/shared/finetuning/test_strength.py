"""How strongly the fit of a head is held back is chosen by cross-validation where a recipe says so."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from shared.errors import BadInput
from shared.finetuning.examples import Example
from shared.finetuning.probe import STRENGTHS, C, best_c
from shared.finetuning.recipe import Recipe
from shared.finetuning.rows import Rows
from shared.finetuning.train import finetune
from shared.models.heads import HeadSpec
from shared.testing.tiny_models import tiny_bert, tiny_rows

LABELS, DIM = 5, 64


def model(*inherited):
    spec = HeadSpec(name="intent", kind="classify", labels=[f"l{i}" for i in range(LABELS)])
    return SimpleNamespace(specs={"intent": spec}, inherited=set(inherited))


def rows(noise, count=600):
    rng = np.random.default_rng(0)
    true = rng.integers(0, LABELS, count)
    vectors = rng.normal(size=(LABELS, DIM))[true] + 1.5 * rng.normal(size=(count, DIM))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    wrong = rng.random(count) < noise
    said = np.where(wrong, rng.integers(0, LABELS, count), true)
    return vectors, [Example("", {"intent": int(label)}) for label in said]


def test_noisy_labels_are_followed_less():
    clean, noisy = (best_c(model(), *rows(noise), 0) for noise in (0.0, 0.6))
    assert noisy == min(STRENGTHS)
    assert clean >= noisy
    assert best_c(model(), *rows(0.6), 0) == noisy


def test_without_rows_to_choose_on_it_is_the_usual_one():
    vectors, few = rows(0.0, 9)
    assert best_c(model(), vectors, few, 0) == C
    assert best_c(model("intent"), *rows(0.0), 0) == C
    vectors, same = np.eye(12, dtype=np.float32), [Example("", {"intent": 1})] * 12
    assert best_c(model(), vectors, same, 0) == min(STRENGTHS)


@pytest.mark.parametrize("method", ["frozen", "full"])
def test_the_resolved_recipe_keeps_the_number(tmp_path, method):
    labelled = tiny_rows()
    base = tiny_bert(tmp_path / "base", [row["text"] for row in labelled])
    tree = {
        "base": str(base),
        "data": {"rows": {}},
        "heads": {"intent": {"kind": "classify", "data": "rows"}, "vector": {"kind": "embed"}},
        "method": {"kind": method, "c": "auto"},
        "train": {"epochs": 1, "precision": "fp32", "refit": True},
    }
    data = {"rows": Rows(labelled[::2], labelled[1::2])}
    report = finetune(Recipe.parse(tree), data, tmp_path / "out", home=tmp_path, progress=False)
    assert report.recipe.method.c in STRENGTHS
    kept = json.loads((tmp_path / "out" / "recipe.json").read_text("utf-8"))
    assert kept["method"]["c"] == report.curves["c"] == report.recipe.method.c


def test_a_strength_is_above_nothing():
    heads = {"intent": {"kind": "classify", "data": "rows"}}
    with pytest.raises(BadInput, match=r'method\.c: .*a number above 0 or "auto"'):
        Recipe.parse({"heads": heads, "method": {"kind": "frozen", "c": 0.0}})
