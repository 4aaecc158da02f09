"""Methods that train few weights: what moves, what is stored, and how the folder is served."""

from copy import deepcopy

import numpy as np
import pytest
import torch

from shared.errors import BadInput, Damaged
from shared.finetuning.backbone import load_encoder
from shared.finetuning.bases import resolve
from shared.finetuning.examples import examples, head_specs
from shared.finetuning.feeding import Feed
from shared.finetuning.loop import total_steps
from shared.finetuning.methods.build import techniques
from shared.finetuning.methods.stored import ADAPTER, attach, load_whole, save_encoder, settle
from shared.finetuning.train import finetune, load
from shared.finetuning.tuning import tune
from shared.finetuning.weights import weights_sha256
from shared.models.card import ModelCard
from shared.models.text_model import TextModel

INTENT = {"intent": {"kind": "classify", "data": "rows"}}
FAST = {"rate": 0.02, "epochs": 3, "patience": None, "max_tokens": 40}


def tuned(made, rows, home):
    data = {"rows": rows}
    specs = head_specs(made, data)
    base = resolve(made.base, home=home)
    model, tokenizer, length = load(base, made, specs)
    feed = Feed(tokenizer, length)
    train = examples(made, specs, data, "train")
    tune(model, feed, made, train, [], home / "work", progress=False)
    return base, model.eval(), feed


def vectors(model, encoder, feed, rows):
    own, model.encoder = model.encoder, encoder.eval()
    with torch.inference_mode():
        found = model.vectors(**feed([row["text"] for row in rows]).tensors).numpy()
    model.encoder = own
    return found


def settled(model, made, base, home):
    model.encoder = settle(model.encoder, made.method, base, home / "out")
    save_encoder(model.encoder, home / "out")
    return home / "out" / ADAPTER


@pytest.mark.parametrize("kind", ["lora", "adalora", "prefix", "prompt", "adapter"])
def test_what_is_trained_is_small_and_finds_its_base_again(recipe, rows, tmp_path, kind):
    made = recipe(heads=INTENT, method={"kind": kind}, train=FAST)
    base, model, feed = tuned(made, rows, tmp_path)
    plain = load_encoder(base.path)
    own = vectors(model, model.encoder, feed, rows.valid)
    assert np.abs(vectors(model, plain, feed, rows.valid) - own).max() > 1e-3  # it learnt something
    file = settled(model, made, base, tmp_path)
    for encoder in (model.encoder, attach(plain, file), load_whole(tmp_path / "out")):
        assert vectors(model, encoder, feed, rows.valid) == pytest.approx(own, abs=1e-5)
    merged = kind in ("lora", "adalora")
    folder = tmp_path / "out" if merged else tmp_path / "out" / "base"
    assert (weights_sha256(folder) == base.sha256) == (not merged)  # the base beside its parts did not move
    if not merged:  # no other program may take the base for the model
        with pytest.raises(BadInput, match="keeps a method's weights beside its base"):
            resolve(str(tmp_path / "out"), home=tmp_path)


def test_parts_of_another_base_are_refused(recipe, rows, tmp_path):
    made = recipe(heads=INTENT, method={"kind": "lora"}, train={**FAST, "epochs": 1})
    base, model, _ = tuned(made, rows, tmp_path)
    file = settled(model, made, base, tmp_path)
    wider = load_encoder(base.path)
    wider.encoder.layer.append(deepcopy(wider.encoder.layer[0]))
    with pytest.raises(Damaged, match="does not fit the base"):
        attach(wider, file)
    file.write_bytes(b"nothing")
    with pytest.raises(Damaged, match="can't be read"):
        attach(load_encoder(base.path), file)


def test_bottlenecks_are_in_the_exported_graph(recipe, rows, tmp_path):
    out = tmp_path / "out"
    made = recipe(method={"kind": "adapter", "width": 8}, train=FAST)
    finetune(made, {"rows": rows}, out, home=tmp_path, progress=False)
    texts = [str(row["text"]) for row in rows.valid]
    graph, torch_ = TextModel.load(out, engine="onnx"), TextModel.load(out, engine="torch")
    for name, found in graph.logits(texts).items():
        assert torch_.logits(texts)[name] == pytest.approx(found, abs=1e-4)
    assert (out / ADAPTER).stat().st_size < (out / "base" / "model.safetensors").stat().st_size / 2


def test_prompts_are_served_by_torch_alone(recipe, rows, tmp_path):
    out = tmp_path / "out"
    made = recipe(method={"kind": "prompt", "tokens": 30}, train={**FAST, "max_tokens": 60})
    report = finetune(made, {"rows": rows}, out, home=tmp_path, progress=False)
    assert report.metrics["intent"]["accuracy"] > 0.9
    card = ModelCard.read(out)
    assert (card.runtime, card.max_tokens) == ("torch", 34)  # the prompt takes 30 of 64 positions
    assert not (out / "onnx").exists()
    model = TextModel.load(out)
    assert model.served_by.startswith("torch")
    assert model.embed(["long " * 200]).shape == (1, 32)


def test_adalora_reaches_its_rank(recipe, rows, tmp_path):
    made = recipe(heads=INTENT, method={"kind": "adalora", "rank": 2}, train={**FAST, "epochs": 4})
    specs = head_specs(made, {"rows": rows})
    model, tokenizer, length = load(resolve(made.base, home=tmp_path), made, specs)
    train = examples(made, specs, {"rows": rows}, "train")
    tune(model, Feed(tokenizer, length), made, train, [], tmp_path / "work", progress=False)
    values = [p for name, p in model.named_parameters() if "lora_E" in name]
    assert {len(p) for p in values} == {3}
    assert sum(int((p != 0).sum()) for p in values) == 2 * len(values)


@pytest.mark.parametrize(
    ("method", "said"),
    [
        ({"kind": "adalora"}, "over at least 10 steps and this training has 6"),
        ({"kind": "prompt", "tokens": 60}, "leave 4 of 64 positions to the text"),
    ],
)
def test_what_a_method_can_not_do_is_said(recipe, rows, tmp_path, method, said):
    made = recipe(heads=INTENT, method=method, train={"epochs": 1})
    with pytest.raises(BadInput, match=said):
        tuned(made, rows, tmp_path)


def test_steps_are_counted_as_the_trainer_does(recipe):
    options = recipe(train={"epochs": 3, "batch": 8, "accumulate": 2}).train
    assert total_steps(45, options) == 9
    assert techniques(recipe(), steps=1) == []
