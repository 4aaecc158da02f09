"""16 rows in one batch and in four micro-batches give one gradient (huggingface/transformers 47688)."""

import pytest
import torch
from transformers import set_seed

from shared.finetuning import loop
from shared.finetuning.bases import resolve
from shared.finetuning.collate import Collator
from shared.finetuning.examples import examples, head_specs
from shared.finetuning.feeding import Feed
from shared.finetuning.methods.build import techniques
from shared.finetuning.rows import Rows
from shared.finetuning.train import load
from shared.testing.tiny_models import tiny_rows
from shared.testing.training import GradientNorm, one_step

LABELLED = {"intent": {"kind": "classify", "data": "rows"}}
TAGGED = {"tags": {"kind": "multilabel", "data": "rows", "label": "tags"}}


class InOrder(loop.HeadsTrainer):
    def _get_train_sampler(self, train_dataset=None):
        return torch.utils.data.SequentialSampler(self.train_dataset)


def norm(recipe, rows, home, batch, accumulate, *, divides=None, places=None):
    set_seed(3)  # the heads' random start
    data = {"rows": Rows(rows)}
    specs = head_specs(recipe, data)
    model, tokenizer, length = load(resolve(recipe.base, home=home), recipe, specs)
    model.divides = model.divides if divides is None else divides
    if places is not None:
        model.get_input_embeddings().register_forward_hook(lambda _, ids, out: places.append(ids[0].numel()))
    parts = techniques(recipe, steps=100)
    for part in parts:
        part.prepare(model, recipe)
    found = GradientNorm(model)
    trainer = InOrder(
        model=model,
        args=one_step(home, batch, accumulate),
        train_dataset=examples(recipe, specs, data, "train"),
        data_collator=Collator(specs, Feed(tokenizer, length)),
        callbacks=[found],
        options=recipe.train,
        techniques=parts,
    )
    trainer.remove_callback(loop.PrinterCallback)
    trainer.train()
    return found.found


def some_without(rows, name):
    return [{k: v for k, v in row.items() if k != name or i < 5} for i, row in enumerate(rows)]


SIXTEEN = tiny_rows()[::4] + tiny_rows()[1:2]


@pytest.mark.parametrize(
    ("heads", "rows"),
    [
        (LABELLED, SIXTEEN),
        (TAGGED, SIXTEEN),
        (LABELLED | TAGGED, SIXTEEN),
        (LABELLED | TAGGED, some_without(SIXTEEN, "tags")),  # uneven: all tagged rows in two micro-batches
    ],
    ids=["classify", "multilabel", "both", "both, few tagged"],
)
def test_sixteen_rows_are_four_times_four(recipe, tmp_path, heads, rows):
    made = recipe(heads=heads, train={"label_smoothing": 0.1})
    (whole,) = norm(made, rows, tmp_path, 16, 1)
    (parts,) = norm(made, rows, tmp_path, 4, 4)
    assert whole > 0.001
    assert parts == pytest.approx(whole, rel=1e-4)


LONG = "where is the money that my card did not send home today please sir and what is the rate"
WORDS = [
    {"tokens": row["text"].split(), "tags": ["B-x", *["O"] * (len(row["text"].split()) - 1)]}
    for row in SIXTEEN
]
UNEVEN = [*SIXTEEN[:8], *({**row, "text": LONG} for row in SIXTEEN[8:])]


@pytest.mark.parametrize(
    ("heads", "rows"),
    [
        (LABELLED | TAGGED, UNEVEN),
        (
            {"like": {"kind": "similarity", "data": "rows"}, "vector": {"kind": "embed"}},
            [{"query": row["text"], "text": LONG, "label": float(i % 2)} for i, row in enumerate(SIXTEEN)],
        ),
    ],
    ids=["labels", "pairs"],
)
def test_texts_of_like_length_go_together_and_only_padding_changes(recipe, tmp_path, heads, rows):
    made = recipe(heads=heads)
    whole, divided = [], []
    (one,) = norm(made, rows, tmp_path, len(rows), 1, divides=False, places=whole)
    (other,) = norm(made, rows, tmp_path, len(rows), 1, places=divided)
    assert one > 0.001
    assert other == pytest.approx(one, rel=1e-4)
    assert len(whole) == 1
    assert sum(divided) < 0.8 * sum(whole)


def test_a_batch_whose_tokens_are_read_stays_whole(recipe, tmp_path):
    rows = [*WORDS, *({"tokens": LONG.split(), "tags": ["B-x", *["O"] * 18]} for _ in range(4))]
    seen = []
    norm(recipe(heads={"tag": {"kind": "tag", "data": "rows"}}), rows, tmp_path, len(rows), 1, places=seen)
    assert len(seen) == 1


def test_an_attack_sees_whole_batches_and_leaves_none_behind(recipe, tmp_path):
    made = recipe(heads=LABELLED, train={"adversarial": {"kind": "fgm"}})
    model, _, _ = load(resolve(made.base, home=tmp_path), made, head_specs(made, {"rows": Rows(UNEVEN)}))
    (attack,) = techniques(made, steps=1)
    assert not model.whole
    attack.prepare(model, made)
    assert model.whole
    attack.finish(model)
    assert not model.whole


def test_contrastive_pairs_scale_with_their_micro_batches(recipe, tmp_path):
    # Four equal micro-batches have the negatives of one, so their mean is the gradient of one.
    four = [
        {"anchor": f"{word} is lost", "positive": f"the {word}"} for word in ("card", "money", "rate", "sir")
    ]
    made = recipe(heads={"embed": {"kind": "embed", "data": "rows"}})
    (one,) = norm(made, four, tmp_path, 4, 1)
    (accumulated,) = norm(made, four * 4, tmp_path, 4, 4)
    assert one > 0.001
    assert accumulated == pytest.approx(one, rel=1e-4)


@pytest.mark.parametrize(
    "options",
    [
        {"method": {"kind": "adalora"}},  # its penalty is on weights, and a step has it once
        {"method": {"kind": "prefix"}},
        {"method": {"kind": "adapter"}, "train": {"checkpointing": True}},
        # Rows are moved one by one, so batches don't matter; under LoRA the embeddings are at rest.
        {"method": {"kind": "lora"}, "train": {"adversarial": {"kind": "fgm"}}},
        {"train": {"rdrop": 1.0, "adversarial": {"kind": "pgd", "steps": 3}}},
        {"train": {"weighting": "uncertainty"}},  # its penalty counts once a row
    ],
    ids=str,
)
def test_methods_scale_like_the_loss(recipe, tmp_path, options):
    made = recipe(heads=LABELLED | TAGGED, **options)
    (whole,) = norm(made, SIXTEEN, tmp_path, 16, 1)
    (parts,) = norm(made, SIXTEEN, tmp_path, 4, 4)
    assert whole > 0.001
    assert parts == pytest.approx(whole, rel=2e-4)


PLAIN: list[float] = []  # found once for the whole table


@pytest.mark.parametrize(
    ("train", "times"),
    [
        ({"rdrop": 9.0}, 1),  # without dropout both passes are one
        ({"checkpointing": True}, 1),
        ({"adversarial": {"kind": "fgm", "epsilon": 1e-6}}, 2),  # the clean pass and one that hardly differs
        ({"adversarial": {"kind": "pgd", "epsilon": 1e-6, "steps": 4}}, 2),
        ({"layer_decay": 0.5, "optimiser": "adafactor", "schedule": "constant"}, 1),
        ({"average": {"kind": "ema"}, "unfreeze": 2}, None),
        ({"dropout": 0.5}, None),
        ({"adversarial": {"kind": "fgm", "epsilon": 3.0}}, None),
        ({"noise": 5.0}, None),
        ({"mixup": 1.0}, None),
    ],
    ids=str,
)
def test_what_is_switched_off_changes_nothing_and_what_is_on_does(recipe, tmp_path, train, times):
    if not PLAIN:
        PLAIN.extend(norm(recipe(heads=LABELLED), SIXTEEN, tmp_path, 16, 1))
    (plain,) = PLAIN
    (found,) = norm(recipe(heads=LABELLED, train=train), SIXTEEN, tmp_path, 16, 1)
    if times:
        assert found == pytest.approx(times * plain, rel=1e-3)
    else:
        assert abs(found - plain) > 0.005 * plain


def test_rdrop_draws_two_passes_with_dropout_together(recipe, tmp_path):
    drop = {"dropout": 0.3}
    (without,) = norm(recipe(heads=LABELLED | TAGGED, train=drop), SIXTEEN, tmp_path, 16, 1)
    (weak,) = norm(recipe(heads=LABELLED | TAGGED, train={**drop, "rdrop": 1e-6}), SIXTEEN, tmp_path, 16, 1)
    (strong,) = norm(recipe(heads=LABELLED | TAGGED, train={**drop, "rdrop": 500}), SIXTEEN, tmp_path, 16, 1)
    assert weak == pytest.approx(without, rel=0.5)
    assert strong > 2 * weak


def test_mixtures_of_equal_rows_are_those_rows(recipe, tmp_path):
    made = {"heads": {"intent": {**LABELLED["intent"], "labels": ["card", "money"]}}}
    same = [{"text": "my card is lost", "label": "card"}] * 8
    (plain,) = norm(recipe(**made), same, tmp_path, 8, 1)
    (mixed,) = norm(recipe(**made, train={"mixup": 0.4}), same, tmp_path, 8, 1)
    assert mixed == pytest.approx(plain, rel=1e-4)
