"""Teachers: what they say is kept with each row, learnt beside the labels, and scaled like the loss."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import set_seed

from shared.errors import BadInput, NotFound
from shared.finetuning import loop
from shared.finetuning.bases import resolve
from shared.finetuning.collate import TWINS, Collator
from shared.finetuning.examples import Example, examples, head_specs
from shared.finetuning.feeding import Feed
from shared.finetuning.methods.build import techniques
from shared.finetuning.methods.taught import distance
from shared.finetuning.outputs import said_in_training, stacked
from shared.finetuning.preparing import DONE, TEACHERS, Ground, prepared
from shared.finetuning.recipe import Recipe
from shared.finetuning.rows import Rows
from shared.finetuning.teaching import lesson, with_lesson
from shared.finetuning.train import finetune, load
from shared.finetuning.tuning import tune
from shared.models.heads import HeadSpec, softmax
from shared.models.text_model import TextModel
from shared.testing.tiny_models import tiny_rows
from shared.testing.training import GradientNorm, one_step

NAN = float("nan")
INTENT = {"intent": {"kind": "classify", "data": "rows"}}


def test_distances_are_those_of_each_kind():
    logits = torch.tensor([[1.0, 3.0, -2.0], [0.5, 0.5, 4.0]])
    same = (logits / 2).softmax(-1)
    assert float(distance("classify", logits, same, 2.0)) == pytest.approx(0.0, abs=1e-6)
    other = torch.tensor([[0.2, 0.5, 0.3], [0.1, 0.1, 0.8]])
    by_hand = 4 * (other * (other.log() - (logits / 2).log_softmax(-1))).sum()
    assert float(distance("classify", logits, other, 2.0)) == pytest.approx(float(by_hand), rel=1e-5)
    # A label that is not taught takes no part, whatever the model says of it.
    partial = torch.tensor([[0.4, 0.6, NAN]])
    two = distance("classify", logits[:1, :2], partial[:, :2], 1.0)
    assert float(distance("classify", logits[:1], partial, 1.0)) == pytest.approx(float(two), rel=1e-5)
    yes = torch.tensor([[1.0, NAN, 0.0]])
    bce = -(torch.sigmoid(torch.tensor(1.0)).log() + torch.sigmoid(torch.tensor(2.0)).log()) / 2
    assert float(distance("multilabel", logits[:1], yes, 1.0)) == pytest.approx(float(bce), rel=1e-5)
    assert float(distance("regress", torch.tensor([[2.0]]), torch.tensor([[5.0]]), 1.0)) == 9.0
    unit = torch.tensor([[0.6, 0.8]])
    assert float(distance("embed", unit, torch.tensor([[1.0, 0.0]]), 1.0)) == pytest.approx(0.4)


def test_teachers_are_averaged_and_labels_matched_by_name(trained):
    rows = [Example(row["text"], {}) for row in tiny_rows()[:6]]
    own = HeadSpec(name="intent", kind="classify", labels=["rate", "money", "card"])
    logits = TextModel.load(trained).logits([row.text for row in rows])["intent"][:, ::-1]
    wanted = softmax(logits.astype(np.float64) / 2)
    for folders in ([trained], [trained, trained]):
        said = np.stack([one["intent"] for one in lesson(folders, [own], rows, 2.0)])
        assert said == pytest.approx(wanted, abs=1e-5)
    wider = own.model_copy(update={"labels": [*own.labels, "app"]})
    with pytest.raises(BadInput, match="does not know the label 'app'"):
        lesson([trained], [wider], rows, 2.0)
    part = np.stack([one["intent"] for one in lesson([trained], [wider], rows, 2.0, partial=True)])
    assert np.isnan(part[:, 3]).all()
    assert part[:, :3] == pytest.approx(wanted, abs=1e-5)
    with pytest.raises(BadInput, match=r"have no head of the name and kind of one of other \(classify\)"):
        lesson([trained], [own.model_copy(update={"name": "other"})], rows, 2.0)
    with pytest.raises(BadInput, match="gives vectors of 32 numbers, this base of 384"):
        lesson([trained], [HeadSpec(name="vector", kind="embed")], rows, 2.0, width=384)


class InOrder(loop.HeadsTrainer):
    def _get_train_sampler(self, train_dataset=None):
        return torch.utils.data.SequentialSampler(self.train_dataset)


def with_lessons(rows):
    """Every second row has no target of its own; what is taught differs from row to row."""
    shares = np.random.default_rng(0).dirichlet(np.ones(3), len(rows)).astype(np.float32)
    taught = [
        replace(row, targets=row.targets if i % 2 else {}, twin=f"{row.text} again" if i % 3 else None)
        for i, row in enumerate(rows)
    ]
    return with_lesson(taught, TEACHERS, [{"intent": share} for share in shares])


BESIDE = {
    "distil": {"teachers": ["somewhere"], "weight": 2.0},
    "unlabelled": {"data": "more", "kinds": ["consistency"], "confidence": 0.0},
}


@pytest.mark.parametrize("more", [{}, {"train": {"rdrop": 1.0, "mixup": 0.5}}], ids=str)
def test_lessons_scale_like_the_loss(recipe, tmp_path, more):
    def norm(batch, accumulate, made):
        set_seed(3)
        specs = head_specs(made, {"rows": Rows(sixteen)})
        model, tokenizer, length = load(resolve(made.base, home=tmp_path), made, specs)
        parts = techniques(made, steps=100)
        found = GradientNorm(model)
        trainer = InOrder(
            model=model,
            args=one_step(tmp_path, batch, accumulate),
            train_dataset=with_lessons(examples(made, specs, {"rows": Rows(sixteen)}, "train")),
            data_collator=Collator(specs, Feed(tokenizer, length)),
            callbacks=[found],
            options=made.train,
            techniques=[part for part in parts if type(part).__name__ != "Mixup" or batch == accumulate],
        )
        trainer.remove_callback(loop.PrinterCallback)
        trainer.train()
        return found.found[0]

    sixteen = tiny_rows()[::4] + tiny_rows()[1:2]
    without = norm(16, 1, recipe(heads=INTENT))
    whole, parts = (norm(*size, recipe(heads=INTENT, **BESIDE, **more)) for size in ((16, 1), (4, 4)))
    if not more:  # mixtures are drawn anew for every micro-batch
        assert parts == pytest.approx(whole, rel=1e-4)
    assert abs(whole - without) > 0.01 * without


def test_rows_without_lessons_make_the_batch_they_made(recipe, tmp_path):
    made = recipe(heads=INTENT)
    specs = head_specs(made, {"rows": Rows(tiny_rows())})
    model, tokenizer, length = load(resolve(made.base, home=tmp_path), made, specs)
    rows = examples(made, specs, {"rows": Rows(tiny_rows()[:4])}, "train")
    batch = Collator(specs, Feed(tokenizer, length))(rows)
    assert set(batch) == {"input_ids", "attention_mask", "targets", "labels"}
    assert set(model(**batch)) == {"loss"}
    taught = Collator(specs, Feed(tokenizer, length))(with_lessons(rows))
    assert set(taught["lessons"]) == {TEACHERS, TWINS}
    assert taught["lessons"][TWINS]["twins"].tolist() == [4, 5]  # behind the rows
    assert len(taught["labels"]) == 4
    assert not techniques(made.resolved(rows=4, precision="fp32", base_sha256="", max_tokens=9), steps=9)


def test_a_student_learns_from_what_its_teacher_says_of_unlabelled_rows(trained, recipe, tmp_path):
    few = [row for row in tiny_rows() if row["text"].endswith("gone now") or "bad now" in row["text"]]
    few += [row for row in tiny_rows() if row["text"].startswith("card not here now")]
    data = {"rows": Rows(few), "more": Rows(tiny_rows()[::2])}
    base = str(trained.parent / "base")
    agreement = []
    for beside in ({}, {"distil": {"teachers": [str(trained)], "data": "more", "weight": 4.0}}):
        made = recipe(heads=INTENT, base=base, train={"epochs": 6, "rate": 2e-3}, **beside)
        found = resolve(base, home=tmp_path)
        specs = head_specs(made, data)
        made = made.resolved(rows=3, precision="fp32", base_sha256=found.sha256, max_tokens=40)
        model, tokenizer, length = load(found, made, specs)
        feed = Feed(tokenizer, length)
        ground = Ground(made, specs, data, tmp_path, lambda own=model, fed=feed: (own, fed), None)
        ready = prepared(ground, examples(made, specs, data, "train"), [])
        set_seed(0)
        tune(model, feed, made, ready.train, [], tmp_path / f"{len(beside)}", progress=False)
        unseen = examples(made, specs, {"rows": Rows(tiny_rows()[1::2])}, "train")
        said = stacked(said_in_training(model, feed, unseen), "intent").argmax(1)
        agreement.append(np.mean(said == [row.targets["intent"] for row in unseen]))
        if beside:
            assert ready.told == {"distil": {"rows": 27, "teachers": 1}}
    assert agreement[1] > 0.9
    assert agreement[1] > agreement[0] + 0.1


def test_seeds_are_trained_first_and_not_again_after_a_kill(recipe, rows, tmp_path):
    made = recipe(heads=INTENT, distil={"seeds": 2}, train={"seed": 4, "minutes": 3.0, "refit": True})
    asked = []

    def train(one, folder):
        asked.append((one.train.seed, one.distil, one.train.refit, one.train.minutes, folder.name))
        folder.mkdir()
        (folder / DONE).write_text("{}", "utf-8")

    ground = Ground(made, [], {"rows": rows}, tmp_path, None, train)
    for _ in range(2):
        with pytest.raises(NotFound, match=r"teacher-5 holds no model\.json"):  # where `train` wrote none
            prepared(ground, [], [])
    assert asked == [(5, None, False, 1.0, "teacher-5"), (6, None, False, 1.0, "teacher-6")]


def test_an_ensemble_becomes_one_student(recipe, rows, tmp_path):
    made = recipe(heads=INTENT, distil={"seeds": 1}, train={"epochs": 1})
    report = finetune(made, {"rows": rows}, tmp_path / "out", home=tmp_path, progress=False)
    assert report.prepared == {"distil": {"teachers": 1}}
    assert (tmp_path / "out" / "prepared.json").is_file()
    assert report.metrics["intent"]["accuracy"] > 0.9
    assert not list((tmp_path / "work").iterdir())


def test_teachers_or_seeds(recipe):
    for wrong in ({}, {"teachers": ["a"], "seeds": 2}):
        with pytest.raises(BadInput, match="distil takes either teachers"):
            recipe(distil=wrong)
    with pytest.raises(BadInput, match="distil needs training step by step"):
        recipe(distil={"seeds": 2}, method={"kind": "frozen"})
    plain = recipe()
    assert recipe(distil=None).hash() == plain.hash() != recipe(distil={"seeds": 2}).hash()
    assert Recipe.parse(plain.model_dump()).hash() == plain.hash()
