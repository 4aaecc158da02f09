"""Heads of tokens begin fitted, on as many of the base's layers as tell words best."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from shared.errors import BadInput
from shared.finetuning import bases, depth, token_probe
from shared.finetuning.blending import SHARES, blend_best
from shared.finetuning.examples import Example, examples, head_specs
from shared.finetuning.feeding import Feed
from shared.finetuning.options import Method
from shared.finetuning.outputs import placed, said_in_training
from shared.finetuning.recipe import Recipe
from shared.finetuning.refit import refitted
from shared.finetuning.rows import Rows
from shared.finetuning.train import finetune, load
from shared.models.card import ModelCard
from shared.models.reading import word_tags
from shared.models.text_model import TextModel
from shared.testing.tiny_models import tiny_bert

NAMES = ("anna", "boris", "carla", "dimitri", "emma", "farid")
PLACES = ("oslo", "lima", "cairo", "quito")
VERBS = ("loved", "praised", "hated", "blamed")
TAG = {"names": {"kind": "tag", "data": "rows"}}
ENTITY = {"tone": {"kind": "entity", "data": "rows"}}


def tagged():
    rows = [(a, v, p) for a in NAMES for v in VERBS for p in PLACES]
    return [{"tokens": [a, v, "in", p], "tags": ["B-PER", "O", "O", "B-LOC"]} for a, v, p in rows]


def judged():
    rows = []
    for a, v, p in ((a, v, p) for a in NAMES for v in VERBS for p in PLACES):
        span = {"start": 0, "end": len(a), "label": "up" if v in VERBS[:2] else "down"}
        rows.append({"text": f"{a} {v} in {p}", "spans": [span]})
    return rows


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    texts = [" ".join(row["tokens"]) for row in tagged()]
    return tiny_bert(tmp_path_factory.mktemp("base") / "base", texts, layers=4)


def recipe(base, heads, **parts):
    train = {"epochs": 2, "rate": 1e-3, "batch": 16, "precision": "fp32", **parts.pop("train", {})}
    return Recipe.parse({"base": str(base), "data": {"rows": {}}, "heads": heads, "train": train, **parts})


def opened(base, heads, rows, tmp_path):
    made, data = recipe(base, heads), {"rows": Rows(rows)}
    specs = head_specs(made, data)
    model, tokenizer, longest = load(bases.resolve(str(base), home=tmp_path), made, specs)
    return model, Feed(tokenizer, longest), examples(made, specs, data, "train")


def blind(model, layer):
    """Let a layer say the same of every token, whatever it reads."""
    norm = model.encoder.encoder.layer[layer].output.LayerNorm
    with torch.no_grad():
        norm.weight.zero_()
        norm.bias.copy_(torch.linspace(-1, 1, len(norm.bias)))


def best(model, feed, rows):
    return depth.best(model, feed, rows, seed=0, precision="fp32")


@pytest.mark.parametrize(("heads", "rows"), [(TAG, tagged()), (ENTITY, judged())], ids=["tag", "entity"])
def test_layers_that_forget_the_words_are_left_out(base, tmp_path, heads, rows):
    model, feed, train = opened(base, heads, rows, tmp_path)
    blind(model, 2)
    assert best(model, feed, train) in (1, 2)
    assert model.training


def test_equal_layers_are_as_good_as_the_fewest(base, tmp_path):
    model, feed, train = opened(base, TAG, tagged(), tmp_path)
    assert best(model, feed, train) == 1  # a word alone tells its tag


def test_too_few_rows_compare_nothing(base, tmp_path):
    model, feed, train = opened(base, TAG, tagged()[:1], tmp_path)
    assert best(model, feed, train) == 4


def test_a_tagger_begins_with_what_the_frozen_words_tell(base, tmp_path):
    model, feed, train = opened(base, TAG, tagged(), tmp_path)
    token_probe.fit(model, feed, train, seed=0)
    with torch.inference_mode():
        fed = feed([train[5].text], offsets=True)
        said = model.heads["names"](model.tokens(**fed.tensors))[0].numpy()
    words = [(start, end) for start, end, _ in train[5].targets["names"]]
    assert word_tags(model.specs["names"], said, fed.offsets[0], words) == ["B-PER", "O", "O", "B-LOC"]
    # Labels that no row has are as good as impossible.
    assert model.heads["names"].bias[model.specs["names"].labels.index("I-PER")] == -10


def test_what_an_earlier_model_left_stays(base, tmp_path):
    model, feed, train = opened(base, TAG, tagged(), tmp_path)
    before = model.heads["names"].weight.clone()
    model.inherited.add("names")
    token_probe.fit(model, feed, train, seed=0)
    assert torch.equal(model.heads["names"].weight, before)


def test_one_label_fits_nothing(base, tmp_path):
    model, feed, train = opened(base, TAG, tagged(), tmp_path)
    before = model.heads["names"].weight.clone()
    only = [replace(row, targets={"names": [row.targets["names"][1]]}) for row in train]
    token_probe.fit(model, feed, only, seed=0)
    assert torch.equal(model.heads["names"].weight, before)


def test_two_labels_share_one_line(base, tmp_path):
    model, feed, train = opened(base, ENTITY, judged(), tmp_path)
    spec = model.specs["tone"]
    read = token_probe.read(model, feed, spec, train, depths=(), most=50, precision="fp32")
    assert read.vectors[0].shape == (50, 2 * model.width)
    weight, bias = token_probe.fitted(spec, read.vectors[0], read.targets)
    np.testing.assert_allclose(weight[0], -weight[1])
    assert ((read.vectors[0] @ weight.T + bias).argmax(1) == read.targets).mean() > 0.9


@pytest.mark.parametrize(("heads", "rows"), [(TAG, tagged()), (ENTITY, judged())], ids=["tag", "entity"])
def test_a_blend_is_chosen_by_the_loss_of_words_and_spans(base, tmp_path, heads, rows):
    model, feed, train = opened(base, heads, rows, tmp_path)
    token_probe.fit(model, feed, train, seed=0)
    start = {name: part.clone() for name, part in model.state_dict().items()}
    (name,) = heads
    with torch.no_grad():
        model.heads[name].weight.mul_(-1)  # an end that is wrong about everything
        model.heads[name].bias.mul_(-1)
    assert blend_best(model, feed, start, train, "fp32") == min(SHARES)
    model.load_state_dict(start)
    assert blend_best(model, feed, start, train, "fp32") == max(SHARES)  # all are the same


@pytest.mark.parametrize(("blend", "steps"), [(0.5, 25), (1.0, 1)])
def test_a_refit_of_a_blended_tagger_goes_to_the_end_that_was_blended(base, blend, steps):
    points = [{"step": 10 * epoch, "score": 0.9 - 0.3 * epoch, "loss": 1.0} for epoch in range(3)]
    train, valid = [Example("a", {})] * 160, [Example("b", {})] * 40
    again = refitted(recipe(base, TAG, train={"blend": blend}), {"epochs": points}, train, valid)
    assert again.train.steps == steps


def test_words_behind_the_cut_are_not_counted(base, tmp_path):
    rows = [{"tokens": ["anna", "loved"] * 50, "tags": ["B-PER", "O"] * 50}, *tagged()[:3]]
    model, feed, train = opened(base, TAG, rows, tmp_path)
    said = said_in_training(model, feed, train)
    numbers, targets = placed(model.specs["names"], train, said)
    assert numbers.shape == (62 + 3 * 4, 5)  # 64 tokens of the long row, two of them marks
    assert targets[-4:].tolist() == [model.specs["names"].labels.index(tag) for tag in tagged()[2]["tags"]]
    np.testing.assert_allclose(numbers[-4], said[-1].numbers["names"][1])


def test_the_served_model_has_the_layers_that_auto_chose(base, tmp_path):
    rows = Rows([r for i, r in enumerate(tagged()) if i % 5], tagged()[::5])
    made = recipe(base, TAG, method={"depth": "auto"}, train={"blend": "auto", "refit": True})
    report = finetune(made, {"rows": rows}, tmp_path / "out", home=tmp_path, progress=False)
    assert report.recipe.method.depth == 1
    assert json.loads((tmp_path / "out" / "config.json").read_text("utf-8"))["num_hidden_layers"] == 1
    assert TextModel.load(tmp_path / "out").heads["names"].kind == "tag"
    told = json.loads((tmp_path / "out" / "evaluation.json").read_text("utf-8"))["names"]["report"]
    assert told["PER"]["f1"] == told["LOC"]["f1"] == 1
    # Going on from it keeps its layers, and a number of them may be said again.
    for name, wanted in (("auto", "auto"), ("said", 1)):
        again = recipe(base, TAG, method={"depth": wanted}, continual={"previous": str(tmp_path / "out")})
        finetune(again, {"rows": rows}, tmp_path / name, home=tmp_path, progress=False)
        assert json.loads((tmp_path / name / "config.json").read_text("utf-8"))["num_hidden_layers"] == 1
    assert ModelCard.read(tmp_path / "out").dim == ModelCard.read(tmp_path / "auto").dim


@pytest.mark.parametrize(("number", "pooling"), [(None, "cls"), (2, "cls"), (1, "mean")])
def test_below_its_top_a_base_is_read_by_the_mean_of_its_tokens(tmp_path, number, pooling):
    own = tiny_bert(tmp_path / "own", [" ".join(row["tokens"]) for row in tagged()], pooling="cls")
    heads = {**TAG, "vector": {"kind": "embed"}}
    made = recipe(own, heads, method={"depth": number}, train={"epochs": 1})
    finetune(made, {"rows": Rows(tagged())}, tmp_path / "out", home=tmp_path, progress=False)
    assert ModelCard.read(tmp_path / "out").pooling == pooling
    vectors = TextModel.load(tmp_path / "out").embed(["anna loved oslo", "boris hated lima"])
    assert vectors.shape == (2, 32)


def test_more_layers_than_there_are(base, tmp_path):
    made = recipe(base, TAG, method={"depth": 5})
    with pytest.raises(
        BadInput, match=r"method\.depth 5 asks for more layers than the base has; give 1 to 4"
    ):
        finetune(made, {"rows": Rows(tagged())}, tmp_path / "out", home=tmp_path, progress=False)


@pytest.mark.parametrize("wrong", [0, -1])
def test_no_layer_at_all(wrong):
    with pytest.raises(ValidationError, match="a number of layers from 1 on"):
        Method(depth=wrong)


def test_auto_needs_a_head_of_words(base):
    with pytest.raises(BadInput, match=r'method\.depth "auto" compares layers for tag and entity heads'):
        recipe(base, {"label": {"kind": "classify", "data": "rows"}}, method={"depth": "auto"})


def test_a_recipe_without_a_depth_keeps_its_hash(base):
    plain = recipe(base, TAG)
    assert plain.hash() == recipe(base, TAG, method={"depth": None}).hash()
    assert plain.hash() != recipe(base, TAG, method={"depth": 2}).hash()
