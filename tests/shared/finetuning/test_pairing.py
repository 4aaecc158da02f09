"""The body learns from pairs of one label, and the head is fitted on its new vectors."""

import pytest
import torch

from shared.errors import BadInput
from shared.finetuning.bases import resolve
from shared.finetuning.collate import Collator
from shared.finetuning.examples import Example, examples, head_specs
from shared.finetuning.feeding import Feed
from shared.finetuning.pairing import NAME, pairing, pairs_of
from shared.finetuning.refit import refitted
from shared.finetuning.rows import Rows
from shared.finetuning.train import load
from shared.finetuning.tuning import tune
from shared.testing.tiny_models import tiny_rows

INTENT = {"intent": {"kind": "classify", "data": "rows"}, "vector": {"kind": "embed"}}


def test_pairs_are_of_one_label_and_never_a_text_with_itself():
    rows = [Example(text, {"intent": label}) for text, label in (("a", 0), ("b", 0), ("a", 0), ("c", 1))]
    found = pairs_of([*rows, Example("d", {})], "intent", 5, seed=0)
    assert [(row.text, row.targets[NAME]) for row in found] == [
        ("a", ("b", "", "0")),
        ("b", ("a", "", "0")),
        ("a", ("b", "", "0")),
    ]
    many = [Example(str(i), {"intent": 0}) for i in range(10)]
    once = pairs_of(many, "intent", 3, seed=0)
    assert len(once) == 30
    assert once == pairs_of(many, "intent", 3, seed=0) != pairs_of(many, "intent", 3, seed=1)


@pytest.mark.parametrize("method", ["full", "lora"])
def test_the_body_learns_what_belongs_together(recipe, tmp_path, method):
    rows = Rows(tiny_rows()[::2], tiny_rows()[1::2])
    made = recipe(heads=INTENT, method={"kind": method}, train={"pairs": 4, "rate": 5e-3})
    base = resolve(made.base, home=tmp_path)
    specs = head_specs(made, {"rows": rows})
    made = made.resolved(rows=15, precision="fp32", base_sha256=base.sha256, max_tokens=40)
    model, tokenizer, length = load(base, made, specs)
    feed = Feed(tokenizer, length)
    train, valid = (examples(made, specs, {"rows": rows}, side) for side in ("train", "valid"))

    def loss():
        with pairing(model) as spec, torch.inference_mode():
            batch = Collator([spec], feed)(pairs_of(valid, "intent", 1, seed=0))
            return float(model.eval()(**batch)["loss"])

    before = loss()
    curves = tune(model, feed, made, train, valid, tmp_path / "work", progress=False)
    assert loss() < 0.8 * before
    assert [point["step"] for point in curves["losses"]][-1] == curves["epochs"][0]["step"] == 15
    assert curves["epochs"][0]["intent"] > 0.9
    assert set(model.specs) == {"intent", "vector"}
    assert refitted(made, curves, train, valid) is made


def test_the_models_own_heads_come_back_after_an_error(recipe, tmp_path):
    made = recipe(heads=INTENT)
    specs = head_specs(made, {"rows": Rows(tiny_rows())})
    model = load(resolve(made.base, home=tmp_path), made, specs)[0]

    def fail():
        with pairing(model) as spec:
            assert set(model.specs) == {spec.name}
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert set(model.specs) == set(model.recipes) == {"intent", "vector"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"train": {"pairs": 2}}, "train.pairs pairs the rows of one classify head"),
        ({"heads": INTENT, "train": {"pairs": 2, "minutes": 1.0}}, "which train.minutes can't bound"),
        (
            {"heads": INTENT, "train": {"pairs": 2, "rdrop": 1.0}},
            "drop rdrop, mixup, unfreeze, contrast, blend",
        ),
        ({"heads": INTENT, "train": {"pairs": 2}, "method": {"kind": "frozen"}}, "drop train.pairs"),
        ({"heads": INTENT, "train": {"pairs": 2}, "distil": {"seeds": 2}}, "drop distil or train.pairs"),
    ],
)
def test_what_does_not_go_together_is_refused(recipe, changes, said):
    with pytest.raises(BadInput, match=said):
        recipe(**changes)


def test_pairs_need_two_texts_of_a_label(recipe, tmp_path):
    rows = Rows([{"text": "my card", "label": "card"}, {"text": "the rate", "label": "rate"}])
    made = recipe(heads=INTENT, train={"pairs": 2})
    specs = head_specs(made, {"rows": rows})
    model, tokenizer, length = load(resolve(made.base, home=tmp_path), made, specs)
    train = examples(made, specs, {"rows": rows}, "train")
    with pytest.raises(BadInput, match="finds no two texts of one label of head 'intent'"):
        tune(model, Feed(tokenizer, length), made, train, [], tmp_path, progress=False)
    assert recipe(heads=INTENT).hash() == recipe(heads=INTENT, train={"pairs": 0}).hash()
    assert recipe(heads=INTENT).hash() != made.hash()
