"""A tuned model made smaller: fewer layers, words or weights; what is lost is measured and limited."""

import json

import numpy as np
import pytest
import tokenizers
import torch
from transformers import AutoTokenizer

from pipelines.tuning.shrinking import compressed, plan_of, wanted
from shared.errors import BadInput, Conflict, Damaged, UsageError
from shared.finetuning import bases
from shared.finetuning.drift import Sample
from shared.finetuning.examples import Example
from shared.finetuning.feeding import Feed
from shared.finetuning.recipe import Recipe
from shared.finetuning.shrink import layers, vocabulary
from shared.finetuning.shrink.options import Compress
from shared.finetuning.shrink.smaller import Plan, shrink
from shared.finetuning.shrink.zeros import zero_smallest
from shared.finetuning.torch_engine import load_model
from shared.models import sparse
from shared.models.card import ModelCard
from shared.models.text_model import TextModel
from shared.testing.tiny_models import tiny_rows
from shared.testing.tiny_trained import tiny_trained

TEXTS = tuple(str(row["text"]) for row in tiny_rows())
NEW = ["my card is here", "send the money today", "which rate is bad"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_trained(tmp_path_factory.mktemp("shrink"))


@pytest.fixture(scope="module")
def sample():
    rows = tiny_rows()
    return Sample(list(TEXTS), truth={"intent": [str(row["label"]) for row in rows]})


def test_a_layer_less_is_taught_to_say_the_same(folder, sample, tmp_path):
    plan = Plan(layers=(0,), texts=TEXTS * 2, epochs=8)
    told = shrink(folder, tmp_path / "out", plan, sample, limit=0.1, work=tmp_path / "work", progress=False)
    assert told["layers"] == [0]
    assert told["parameters"][1] < told["parameters"][0]
    assert told["heads"]["intent"]["metric"] == "accuracy"
    assert told["heads"]["intent"]["loss"] <= 0.1
    assert told["judged"] == ["intent", "tags"]  # the vector only comes along
    model = TextModel.load(tmp_path / "out")
    assert json.loads((tmp_path / "out" / "config.json").read_text("utf-8"))["num_hidden_layers"] == 1
    assert json.loads((tmp_path / "out" / "shrink.json").read_text("utf-8")) == json.loads(json.dumps(told))
    assert model.heads == TextModel.load(folder).heads
    assert not (tmp_path / "out" / "evaluation.json").exists()  # those were the original's figures
    assert not list((tmp_path / "work").rglob("*.safetensors"))


def test_teaching_brings_the_outputs_nearer(folder, tmp_path):
    original, model = load_model(folder), load_model(folder)
    ids = torch.tensor([[2, 5, 6, 7, 3]])
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    wanted = layers.original_outputs(original, inputs)

    def far(one):
        outputs = layers.original_outputs(one, inputs)
        return float(layers.distance(one, outputs, wanted, inputs["attention_mask"]))

    assert far(original) == pytest.approx(0, abs=1e-5)
    layers.drop(model, [0])
    before = far(model)
    feed = Feed(AutoTokenizer.from_pretrained(folder), 64)
    heads = {"intent": {"kind": "classify", "data": "texts"}}
    train = {"epochs": 6, "rate": 1e-4, "head_rate": 1e-4, "precision": "fp32"}
    recipe = Recipe.parse({"heads": heads, "train": train})
    rows = [Example(text, {}) for text in TEXTS]
    left = layers.teach(model, original, feed, rows, recipe, tmp_path, progress=False)
    assert left < before
    assert far(model) < 0.6 * before


@pytest.mark.parametrize("kept", [[], [0, 1], [1, 0], [0, 0], [2], [-1]])
def test_layers_that_can_not_be_kept(folder, kept):
    with pytest.raises(BadInput, match="give some of 0 to 1, rising, not all"):
        layers.drop(load_model(folder), kept)


def test_fewer_words_say_the_same_of_texts_that_use_the_rest(folder, tmp_path):
    texts = tuple(text for text in TEXTS if "rate" not in text)
    plan = Plan(vocabulary=True, texts=texts)
    told = shrink(folder, tmp_path / "out", plan, limit=0.5, work=tmp_path / "work", progress=False)
    assert told["tokens"][1] < told["tokens"][0]
    one, two = TextModel.load(folder), TextModel.load(tmp_path / "out")
    for name, rows in one.logits(list(texts[:20])).items():
        assert two.logits(list(texts[:20]))[name] == pytest.approx(rows, abs=1e-5), name
    assert [e.tokens for e in two.encode(["which rate"])] == [["[CLS]", "[UNK]", "[UNK]", "[SEP]"]]
    card = ModelCard.read(tmp_path / "out")
    assert card.base == ModelCard.read(folder).base
    assert card.fingerprint != ModelCard.read(folder).fingerprint


def word_piece():
    words = ["[PAD]", "[UNK]", "a", "b", "##a", "ab", "##bc", "abc"]
    made = tokenizers.Tokenizer(
        tokenizers.models.WordPiece({w: i for i, w in enumerate(words)}, unk_token="[UNK]")
    )
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    return made


def unigram():
    made = tokenizers.Tokenizer(
        tokenizers.models.Unigram(
            [("<unk>", -9.0), ("a", -3.0), ("b", -3.0), ("c", -3.0), ("ab", -2.0), ("abc", -2.5), ("ca", -4)],
            0,
            False,
        )
    )
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    return made


def byte_pairs():
    words = ["<s>", "a", "b", "c", "ab", "abc", "ca", "cab"]
    made = tokenizers.Tokenizer(
        tokenizers.models.BPE(
            {w: i for i, w in enumerate(words)}, [("a", "b"), ("ab", "c"), ("c", "a"), ("c", "ab")]
        )
    )
    made.add_special_tokens(["<s>"])
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.post_processor = tokenizers.processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 0)]
    )
    return made


@pytest.mark.parametrize("make", [word_piece, unigram, byte_pairs])
@pytest.mark.parametrize("text", ["abc ab", "ab a", "b", "abc"])
def test_every_kind_of_tokenizer_cuts_as_before(make, text):
    whole = make()
    content, order = vocabulary.pruned(whole.to_str(), vocabulary.used(make(), [text]))
    smaller = tokenizers.Tokenizer.from_str(content)
    assert smaller.encode(text).tokens == whole.encode(text).tokens
    assert [order[i] for i in smaller.encode(text).ids] == whole.encode(text).ids
    assert smaller.get_vocab_size() == len(order) <= whole.get_vocab_size()
    assert {"a", "b"} <= smaller.get_vocab().keys()  # single characters stay


def test_weights_that_are_zero_take_no_room(folder, sample, tmp_path):
    work = tmp_path / "work"
    made = compressed(folder, tmp_path / "out", Plan(zeros=0.5), sample, limit=0.9, work=work, seconds=0.5)
    assert made.smaller["zeros"] == pytest.approx(0.5, abs=0.02)
    assert "model.safetensors" in made.smaller["files"]
    for before, after in made.smaller["files"].values():
        assert after < 0.7 * before or before < 50_000
    assert not (tmp_path / "out" / "model.safetensors").exists()
    with pytest.raises(BadInput, match="begin with the model that it was made from"):
        bases.resolve(str(tmp_path / "out"), home=tmp_path)
    served, torch_runtime = TextModel.load(tmp_path / "out"), TextModel.load(tmp_path / "out", engine="torch")
    exported = TextModel.load(tmp_path / "out", engine="onnx")
    for name, rows in torch_runtime.logits(NEW).items():
        assert exported.logits(NEW)[name] == pytest.approx(rows, abs=1e-4)
        assert served.logits(NEW)[name].shape == rows.shape
    assert not list((tmp_path / "work").iterdir())


def test_the_smallest_weights_become_zero():
    body = torch.nn.Linear(4, 2)
    with torch.no_grad():
        body.weight.copy_(torch.tensor([[1.0, -2.0, 3.0, -4.0], [0.5, 6.0, -7.0, 8.0]]))
        body.bias.fill_(0.1)
    zero_smallest(body, 0.5)
    assert body.weight.tolist() == [[0, 0, 0, -4.0], [0, 6.0, -7.0, 8.0]]
    assert body.bias.tolist() == pytest.approx([0.1, 0.1])


@pytest.mark.parametrize("size", [0, 1, 3, 4, 5, 8, 1001])
@pytest.mark.parametrize("shift", [0, 1, 3])
def test_a_file_comes_back_as_it_was(size, shift):
    rng = np.random.default_rng(size)
    words = np.where(rng.random(size) < 0.8, 0, rng.random(size)).astype(np.float32)
    content = b"x" * shift + words.tobytes()
    small = sparse.packed(content)
    assert sparse.unpacked(small, "f") == content
    if size > 1000:
        assert len(small) < 0.4 * len(content)
        for broken in (small[:-3], small[:9], b"other", small.replace(b'"unit": 4', b'"unit": 3')):
            with pytest.raises(Damaged, match="f can't be read"):
                sparse.unpacked(broken, "f")


def test_what_loses_too_much_is_refused(folder, sample, tmp_path):
    with pytest.raises(Conflict, match="loses more than the limit: intent 0"):
        compressed(folder, tmp_path / "out", Plan(zeros=0.97), sample, limit=0.0001, work=tmp_path / "work")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (Plan(zeros=1.5), "above 0 and below 1"),
        (Plan(layers=(0,), texts=TEXTS[:5]), "5 texts are too few"),
        (Plan(layers=(0,), texts=TEXTS, pairs=TEXTS), "reads single texts"),
    ],
)
def test_plans_that_can_not_be(folder, tmp_path, plan, message):
    with pytest.raises(BadInput, match=message):
        shrink(folder, tmp_path / "out", plan, limit=0.5, work=tmp_path / "work", progress=False)


def test_options_become_a_plan(tmp_path):
    rows = Sample(list(TEXTS))
    assert plan_of(wanted(tmp_path, None, "0, 2", True, 0.3), rows) == Plan((0, 2), True, 0.3, TEXTS)
    assert plan_of(wanted(tmp_path, None, None, False, None), None).empty
    with pytest.raises(UsageError, match="is no list of numbers"):
        wanted(tmp_path, None, "first", False, None)
    with pytest.raises(UsageError, match="give --texts FILE"):
        plan_of(wanted(tmp_path, None, "0", False, None), None)


def test_the_recipe_says_what_options_leave_open(tmp_path):
    told = {"compress": {"limit": 0.01, "layers": [0, 3], "zeros": 0.5}}
    (tmp_path / "recipe.json").write_text(json.dumps(told), "utf-8")
    assert wanted(tmp_path, None, None, False, None) == Compress(limit=0.01, layers=[0, 3], zeros=0.5)
    assert wanted(tmp_path, 0.2, "1", True, 0.1) == Compress(
        limit=0.2, layers=[1], vocabulary=True, zeros=0.1
    )
    (tmp_path / "recipe.json").write_text("{", "utf-8")
    with pytest.raises(Damaged, match="train the model again"):
        wanted(tmp_path, None, None, False, None)
