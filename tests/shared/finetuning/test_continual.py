"""A second task after a first: what is forgotten, and what replay, consolidation and distillation keep."""

import numpy as np
import pytest
import torch
from transformers import set_seed

from shared.errors import BadInput
from shared.finetuning.earlier import Earlier, taken_over
from shared.finetuning.examples import examples, head_specs
from shared.finetuning.feeding import Feed
from shared.finetuning.methods.ewc import Consolidated, drawn, information
from shared.finetuning.outputs import said_in_training, stacked
from shared.finetuning.preparing import Ground, prepared
from shared.finetuning.recipe import Recipe
from shared.finetuning.replay import balanced, earlier_examples, known_labels
from shared.finetuning.rows import Rows
from shared.finetuning.train import load
from shared.finetuning.tuning import tune
from shared.models.card import ModelCard
from shared.models.heads import HeadSpec
from shared.models.text_model import TextModel
from shared.testing.tiny_models import tiny_rows, tiny_second_rows

HEADS = {"intent": {"kind": "classify", "data": "rows"}, "vector": {"kind": "embed"}}
FAST = {"epochs": 4, "rate": 2e-3, "batch": 8, "precision": "fp32", "patience": None, "label_smoothing": 0.0}


def continual(trained, **options):
    return Recipe.parse(
        {
            "data": {"rows": {}, "old": {}},
            "heads": HEADS,
            "train": {**FAST, "epochs": 10, "rate": 3e-3},
            "continual": {"previous": str(trained), **options},
        }
    )


DATA = {"rows": Rows(tiny_second_rows()), "old": Rows(tiny_rows()[::2])}


def begun(recipe, home):
    before = Earlier.read(recipe.continual.previous)
    base = before.base(home)
    specs = head_specs(recipe, DATA, known_labels(recipe, before, DATA))
    recipe = recipe.model_copy(update={"base": base.name})
    recipe = recipe.resolved(rows=40, precision="fp32", base_sha256=base.sha256, max_tokens=40)
    return recipe, specs, lambda: load(base, recipe, specs)


def accuracies(recipe, home):
    """Return the accuracies on unseen rows of the first task and on the second's, after the second."""
    recipe, specs, loaded = begun(recipe, home)

    def body():
        model, tokenizer, length = loaded()
        return model, Feed(tokenizer, length)

    ground = Ground(recipe, specs, DATA, home, body, None)
    ready = prepared(ground, examples(recipe, specs, DATA, "train"), [])
    set_seed(0)
    model, feed = body()
    tune(model, feed, recipe, ready.train, [], home / "work", earlier=ready.earlier, progress=False)
    found = []
    for rows in (tiny_rows()[1::2], tiny_second_rows()):
        own = examples(recipe, specs, {"rows": Rows(rows)}, "train")
        said = stacked(said_in_training(model, feed, own), "intent").argmax(1)
        found.append(float(np.mean(said == [row.targets["intent"] for row in own])))
    return found


def test_what_was_learnt_is_forgotten_unless_it_is_held(trained, tmp_path):
    old, new = accuracies(continual(trained), tmp_path / "plain")
    assert new > 0.95
    assert old < 0.4
    ways = {
        "replay": {"data": "old", "replay": 0.8},
        "ewc": {"data": "old", "ewc": 10.0},
        "distil": {"distil": 5.0},
    }
    for name, options in ways.items():
        held, learnt = accuracies(continual(trained, **options), tmp_path / name)
        assert held > old + 0.3, name
        assert learnt > 0.9, name


def test_training_begins_with_what_the_earlier_model_says(trained, tmp_path):
    recipe, specs, loaded = begun(continual(trained, data="old"), tmp_path)
    assert specs[0].labels == ["card", "money", "rate", "app", "pin"]  # the known ones keep their places
    assert recipe.base == "base"
    assert recipe.base_sha256
    model, tokenizer, length = loaded()
    assert model.inherited == {"intent"}
    assert model.fresh == {"intent": [3, 4]}
    rows = earlier_examples(recipe, specs, "old", DATA, "train")
    said = stacked(said_in_training(model, Feed(tokenizer, length), rows), "intent")[:, :3]
    served = TextModel.load(trained).logits([row.text for row in rows])["intent"]
    assert said == pytest.approx(served, abs=1e-4)


def test_numbers_are_taken_over_on_the_new_scale(trained):
    torch.manual_seed(0)
    card = ModelCard.read(trained)
    theirs = HeadSpec(name="score", kind="regress", centre=10.0, spread=2.0)
    weights = {"score.weight": torch.randn(1, 4), "score.bias": torch.randn(1)}
    own = HeadSpec(name="score", kind="regress", centre=-3.0, spread=5.0)
    head = torch.nn.Linear(4, 1)
    x = torch.randn(6, 4)
    with torch.no_grad():
        assert taken_over(head, own, theirs, {n[6:]: w for n, w in weights.items()}) == []
        before = (x @ weights["score.weight"].T + weights["score.bias"]) * theirs.spread + theirs.centre
        assert torch.allclose(head(x) * own.spread + own.centre, before, atol=1e-5)
    assert card.heads[0].name == "intent"


def test_draws_are_even_over_groups():
    groups = ["a"] * 90 + ["b"] * 5 + ["c"] * 5
    chosen = balanced(groups, 12, seed=1)
    assert [sum(groups[i] == g for i in chosen) for g in "abc"] == [4, 4, 4]
    assert chosen == balanced(groups, 12, seed=1) == sorted(set(chosen))
    assert [sum(groups[i] == g for i in balanced(groups, 30, 0)) for g in "abc"] == [20, 5, 5]
    assert len(balanced(groups, 1000, seed=0)) == 100


def test_information_is_of_the_models_own_answers(trained, tmp_path):
    recipe, specs, loaded = begun(continual(trained, data="old", ewc=1.0), tmp_path)
    model, tokenizer, length = loaded()
    feed = Feed(tokenizer, length)
    rows = earlier_examples(recipe, specs, "old", DATA, "train")[:12]
    found = information(model, feed, drawn(model, feed, rows, seed=0))
    assert set(found) == {name for name, _ in model.named_parameters()}
    assert float(found["heads.intent.weight"].sum()) > 0
    assert all(bool((part >= 0).all()) for part in found.values())
    assert drawn(model, feed, rows, seed=0) == drawn(model, feed, rows, seed=0)
    penalty = Consolidated(4.0, 12, rows, feed)
    penalty.prepare(model, recipe)
    batch = {"labels": torch.ones(3)}
    assert float(penalty.extra_loss(model, batch, None).detach()) == 0.0
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.startswith("heads"):
                parameter[3:] += 1.0  # the new labels are free
    assert float(penalty.extra_loss(model, batch, None).detach()) == 0.0
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1
    count = sum(parameter.numel() for parameter in model.parameters())
    # Information has a mean of 1: weight / 2 * rows * count * 0.1 squared, but for the new labels' own.
    assert float(penalty.extra_loss(model, batch, None).detach()) == pytest.approx(
        2 * 3 * count * 0.01, rel=1e-3
    )


@pytest.mark.parametrize(
    ("options", "more", "said"),
    [
        ({"replay": 0.5}, {}, "continual.replay needs earlier rows"),
        ({"ewc": 1.0, "data": "old"}, {"method": {"kind": "lora"}}, "continual.ewc keeps the weights"),
        ({}, {"method": {"kind": "frozen"}}, "continual needs training step by step"),
        ({}, {"base": "auto"}, 'drop base = "auto"'),
    ],
)
def test_what_does_not_go_together_is_refused(trained, options, more, said):
    tree = {**continual(trained).model_dump(), "continual": {"previous": str(trained), **options}, **more}
    with pytest.raises(BadInput, match=said):
        Recipe.parse(tree)


def test_a_label_of_nobody_and_missing_rows_are_named(trained, tmp_path):
    recipe, specs, _ = begun(continual(trained, data="gone", replay=0.5), tmp_path)
    with pytest.raises(BadInput, match="reads data 'gone'; given are rows, old"):
        earlier_examples(recipe, specs, "gone", DATA, "train")
