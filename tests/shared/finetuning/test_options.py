"""What the options of [train] do, and which can't go together."""

import json

import pytest
import torch
from transformers import AutoTokenizer, set_seed

from shared.errors import BadInput
from shared.finetuning import loop
from shared.finetuning.bases import resolve
from shared.finetuning.collate import hidden
from shared.finetuning.examples import examples, head_specs
from shared.finetuning.feeding import Feed
from shared.finetuning.methods.build import techniques
from shared.finetuning.methods.rates import depths, layers, optimiser
from shared.finetuning.methods.technique import Technique
from shared.finetuning.sampling import LengthGrouped
from shared.finetuning.train import load
from shared.finetuning.tuning import collator

INTENT = {"intent": {"kind": "classify", "data": "rows"}}
EMBED = {"embed": {"kind": "embed", "data": "rows"}}


@pytest.fixture
def loaded(tmp_path, rows):
    def make(recipe):
        data = {"rows": rows}
        specs = head_specs(recipe, data)
        model, tokenizer, length = load(resolve(recipe.base, home=tmp_path), recipe, specs)
        return model, examples(recipe, specs, data, "train"), collator(model, Feed(tokenizer, length), recipe)

    return make


class Seen(Technique):
    """Notes what a training looks like at the end of each step and epoch."""

    def __init__(self, model):
        self.model, self.trained, self.rates, self.weights = model, [], [], []

    def on_train_begin(self, args, state, control, **_):
        self.start = self.model.heads["intent"].bias.detach().clone()

    def on_step_end(self, args, state, control, **_):
        names = (
            n.split(".layer.")[-1][0] for n, p in self.model.encoder.named_parameters() if p.requires_grad
        )
        self.trained.append("".join(sorted(set(names))))
        self.weights.append(self.model.heads["intent"].bias.detach().clone())

    def on_epoch_end(self, args, state, control, lr_scheduler=None, **_):
        self.rates.append(lr_scheduler.get_last_lr()[0])


def run(loaded, tmp_path, recipe, score=None, **options):
    set_seed(0)
    model, train, collator = loaded(recipe)
    parts = techniques(recipe, steps=loop.total_steps(len(train), recipe.train))
    for part in parts:
        part.prepare(model, recipe)
    seen = Seen(model)
    fitted = loop.fit(
        model,
        recipe,
        train,
        collator,
        score,
        tmp_path / "work",
        techniques=[seen, *parts],
        progress=False,
        **options,
    )
    return model, seen, fitted


def test_rates_go_down_with_the_layers(recipe, loaded):
    made = recipe(
        heads=INTENT, train={"layer_decay": 0.5, "rate": 0.1, "head_rate": 1.0, "weight_decay": 0.3}
    )
    model, _, _ = loaded(made)
    assert layers(model) == 2
    assert set(depths(model).values()) == {0, 1, 2}
    rates = {
        id(p): (group["lr"], group["weight_decay"])
        for group in optimiser(model, made.train).param_groups
        for p in group["params"]
    }
    body = model.encoder
    assert rates[id(body.embeddings.word_embeddings.weight)] == (0.025, 0.3)
    assert rates[id(body.encoder.layer[0].attention.self.query.weight)] == (0.05, 0.3)
    assert rates[id(body.encoder.layer[1].output.dense.bias)] == (0.1, 0.0)
    assert rates[id(model.heads["intent"].weight)] == (1.0, 0.3)


def test_layers_thaw_from_the_top(recipe, loaded, tmp_path):
    made = recipe(heads=INTENT, train={"unfreeze": 1, "epochs": 3, "batch": 45})
    model, seen, _ = run(loaded, tmp_path, made)
    # The first letter of what is trained: layers 1 and 0, then the embeddings.
    assert seen.trained == ["1", "01", "01e"]
    assert all(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("kind", ["ema", "swa"])
def test_the_average_is_what_is_kept(recipe, loaded, tmp_path, kind):
    train = {
        "epochs": 4,
        "batch": 45,
        "patience": None,
        "average": {"kind": kind, "decay": 0.6, "start": 0.5},
    }
    model, seen, _ = run(loaded, tmp_path, recipe(heads=INTENT, train=train))
    _, plain, _ = run(loaded, tmp_path / "again", recipe(heads=INTENT, train={**train, "average": None}))
    torch.testing.assert_close(seen.weights, plain.weights)  # it watches and does not steer
    if kind == "swa":
        wanted = (seen.weights[2] + seen.weights[3]) / 2
    else:
        wanted = seen.start
        for step, weights in enumerate(seen.weights, 1):
            decay = min(0.6, (1 + step) / (10 + step))
            wanted = decay * wanted + (1 - decay) * weights
    assert not torch.allclose(wanted, seen.weights[-1])
    torch.testing.assert_close(model.heads["intent"].bias.detach(), wanted)


def test_validation_sees_the_average(recipe, loaded, tmp_path):
    seen = []
    made = recipe(heads=INTENT, train={"epochs": 2, "batch": 45, "average": {"kind": "ema"}})
    model, train, collator = loaded(made)
    parts = techniques(made, steps=2)
    parts[0].prepare(model, made)

    def score():
        seen.append(model.heads["intent"].bias.detach().clone())
        return {"score": float(len(seen)), "loss": 0.0}

    loop.fit(model, made, train, collator, score, tmp_path / "work", techniques=parts, progress=False)
    torch.testing.assert_close(model.heads["intent"].bias.detach(), seen[-1])


def test_a_plateau_halves_the_rate(recipe, loaded, tmp_path):
    scores = iter([0.1, 0.5, 0.5, 0.6, 0.6])

    def score():
        return {"score": next(scores), "loss": 0.0}

    made = recipe(
        heads=INTENT, train={"schedule": "plateau", "epochs": 4, "batch": 45, "rate": 0.01, "patience": None}
    )
    _, seen, (_, curve) = run(loaded, tmp_path, made, score)
    # Noted before the epoch's own score counts: lower after the second epoch, which was no better.
    assert seen.rates == pytest.approx([0.01, 0.01, 0.005, 0.005])
    assert [point["score"] for point in curve] == [0.1, 0.5, 0.5, 0.6, 0.6]
    with pytest.raises(BadInput, match=r"plateau.* follows validation scores"):
        run(loaded, tmp_path / "none", made)


@pytest.mark.parametrize(
    "train",
    [
        {"optimiser": "adafactor", "schedule": "constant", "rate": 0.01},
        {"schedule": "cosine", "noise": 1.0, "rate": 0.01},
        {"mixup": 0.4, "rate": 0.01},
        {"hide": 0.15, "rate": 0.01},
        {"rdrop": 1.0, "dropout": 0.1, "rate": 0.01},
        {"adversarial": {"kind": "pgd", "steps": 2}, "precision": "bf16", "rate": 0.01},
    ],
    ids=str,
)
def test_every_option_learns(recipe, loaded, tmp_path, train):
    made = recipe(heads=INTENT, train={"epochs": 6, "head_rate": 0.05, **train})
    _, _, (losses, _) = run(loaded, tmp_path, made)
    assert losses[-1]["loss"] < 0.6 * losses[0]["loss"]


def test_some_words_are_hidden_and_no_marks(tiny):
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    set_seed(0)
    ids = Feed(tokenizer, 32)(["i want a lamp for the hall", "how much"] * 200).tensors["input_ids"]
    found = hidden(ids, 0.15, tokenizer)
    words = ~torch.isin(ids, torch.tensor(tokenizer.all_special_ids))
    assert found[~words].equal(ids[~words])
    masked = (found == tokenizer.mask_token_id) & words
    assert found[~masked].equal(ids[~masked])
    assert masked.sum() / words.sum() == pytest.approx(0.15, abs=0.03)
    of_row = masked.sum(1) / words.sum(1)
    assert (of_row == 0).float().mean() > 0.2  # rows with all their words are seen too
    tokenizer.mask_token = None
    unknown = hidden(ids, 0.15, tokenizer) == tokenizer.unk_token_id
    assert unknown[words].float().mean() == pytest.approx(0.15, abs=0.03)
    tokenizer.unk_token = None
    with pytest.raises(BadInput, match=r"train.hide needs a tokenizer with a mask or unknown token"):
        hidden(ids, 0.15, tokenizer)


def test_every_log_is_a_line(recipe, loaded, tmp_path):
    def score():
        return {"score": 0.5, "loss": 0.25}

    run(loaded, tmp_path, recipe(heads=INTENT, train={"epochs": 2, "batch": 45}), score)
    lines = [json.loads(line) for line in (tmp_path / "work" / "steps.jsonl").read_text("utf-8").splitlines()]
    assert [line["step"] for line in lines if "eval_score" in line] == [0, 1, 2]
    told = [line for line in lines if "loss" in line]
    assert {"step", "epoch", "loss", "grad_norm", "learning_rate"} <= told[0].keys()
    assert [line["step"] for line in told] == [1, 2]


def test_the_order_follows_from_seed_and_epoch():
    lengths = [i % 7 for i in range(50)]
    one, two = LengthGrouped(lengths, 8, 3), LengthGrouped(lengths, 8, 3)
    first = list(one)
    assert sorted(first) == list(range(50))
    assert first == list(two) == list(two)
    two.set_epoch(1)
    assert list(two) != first
    assert list(LengthGrouped(lengths, 8, 4)) != first


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"method": {"kind": "frozen"}, "train": {"adversarial": {}}},
            "frozen trains no weight.*train.adversarial",
        ),
        ({"method": {"kind": "frozen"}, "train": {"hide": 0.1}}, "frozen trains no weight.*train.hide"),
        (
            {"method": {"kind": "frozen"}, "train": {"start_rows": 9}},
            "frozen trains no weight.*train.start_rows",
        ),
        ({"method": {"kind": "lora"}, "train": {"layer_decay": 0.9}}, "train.layer_decay needs method full"),
        ({"method": {"kind": "prefix"}, "train": {"unfreeze": 1}}, "train.unfreeze needs method full"),
        (
            {"method": {"kind": "prefix"}, "train": {"checkpointing": True}},
            "prefix hands keys to every layer",
        ),
        ({"method": {"kind": "full", "rank": 4}}, "rank belongs to method lora and adalora, not to full"),
        ({"method": {"kind": "lora", "width": 4}}, "width belongs to method adapter, not to lora"),
        ({"train": {"rdrop": 1, "dropout": 0}}, "rdrop compares two passes"),
        ({"heads": EMBED, "train": {"mixup": 0.2}}, "train.mixup mixes the labels of classify heads"),
        (
            {"heads": {"words": {"kind": "mlm", "data": "rows"}}, "train": {"hide": 0.2}},
            "train.hide hides words from heads",
        ),
        ({"heads": EMBED, "train": {"rdrop": 0.2}}, "train.rdrop compares classify and multilabel heads"),
        ({"train": {"fsdp": True, "average": {}}}, "train.fsdp spreads whole models"),
        ({"train": {"mix": "temperature"}}, 'train.mix "temperature" mixes data sources, and there is one'),
        ({"train": {"mix": "temperature", "contrast": 0.5}}, "rows by source and contrast by label"),
        ({"train": {"mix_temperature": 5}}, 'belongs to mix "temperature"'),
        ({"heads": INTENT, "train": {"weighting": "uncertainty"}}, "weighs heads, and one learns"),
        ({"train": {"weighting": "uncertainty", "mixup": 0.4}}, "goes without mixup"),
        (
            {"method": {"kind": "frozen"}, "train": {"weighting": "uncertainty"}},
            "frozen trains no weight of the body: drop train.weighting",
        ),
        (
            {"heads": {"s": {"kind": "score", "data": "rows"}}, "method": {"kind": "prompt"}},
            "prompt can't tell two texts apart, which score needs",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_impossible_pairs_are_refused_when_the_recipe_is_read(recipe, changes, said):
    with pytest.raises(BadInput, match=said):
        recipe(**changes)


@pytest.mark.parametrize(
    ("train", "said"),
    [({"precision": "fp16"}, '"fp16" needs a GPU'), ({"fsdp": True}, "start it with torchrun on several")],
)
def test_what_this_machine_can_not_do_is_said(recipe, loaded, tmp_path, train, said):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(BadInput, match=said):
        run(loaded, tmp_path, recipe(heads=INTENT, train=train))
