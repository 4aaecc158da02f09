"""16 rows in one batch and in four micro-batches give one gradient (huggingface/transformers 47688)."""

import math

import pytest
import torch
from transformers import TrainerCallback, TrainingArguments, set_seed

from shared.finetuning import loop
from shared.finetuning.bases import resolve
from shared.finetuning.examples import Collator, examples, head_specs
from shared.finetuning.rows import Rows
from shared.finetuning.train import load
from shared.testing.tiny_models import tiny_rows

LABELLED = {"intent": {"kind": "classify", "data": "rows"}}
TAGGED = {"tags": {"kind": "multilabel", "data": "rows", "label": "tags"}}


class Norm(TrainerCallback):
    """Reads the gradient's norm before the step."""

    def __init__(self, model):
        self.model, self.found = model, []

    def on_pre_optimizer_step(self, *args, **kwargs):
        grads = [p.grad for p in self.model.parameters() if p.grad is not None]
        self.found.append(math.sqrt(sum(float(g.square().sum()) for g in grads)))


class InOrder(loop.HeadsTrainer):
    def _get_train_sampler(self, train_dataset=None):
        return torch.utils.data.SequentialSampler(self.train_dataset)


def norm(recipe, rows, home, batch, accumulate):
    set_seed(3)  # the heads' random start
    data = {"rows": Rows(rows)}
    specs = head_specs(recipe, data)
    model, tokenizer, length = load(resolve(recipe.base, home=home), recipe, specs)
    found = Norm(model)
    trainer = InOrder(
        model=model,
        args=TrainingArguments(
            output_dir=str(home),
            per_device_train_batch_size=batch,
            gradient_accumulation_steps=accumulate,
            max_steps=1,
            max_grad_norm=0,
            use_cpu=True,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            remove_unused_columns=False,
            dataloader_pin_memory=False,
        ),
        train_dataset=examples(recipe, specs, data, "train"),
        data_collator=Collator(specs, loop.tokenizing(tokenizer, length)),
        callbacks=[found],
        head_rate=1e-3,
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
