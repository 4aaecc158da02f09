"""Rows without labels: pseudo-labels above a threshold, and answers that stay when words change."""

import numpy as np
import pytest
import torch
from transformers import set_seed

from shared.errors import BadInput
from shared.finetuning.bases import resolve
from shared.finetuning.beside import Unlabelled
from shared.finetuning.examples import examples, head_specs
from shared.finetuning.feeding import Feed
from shared.finetuning.methods.taught import Consistent
from shared.finetuning.methods.technique import Pass
from shared.finetuning.outputs import Said, said_in_training, stacked
from shared.finetuning.preparing import DONE, Ground, prepared
from shared.finetuning.rows import Rows
from shared.finetuning.train import load
from shared.finetuning.tuning import tune
from shared.finetuning.unlabelled import PSEUDO, pseudo_labels, sure_from, texts_of
from shared.models.heads import HeadSpec
from shared.testing.tiny_models import tiny_rows

INTENT = {"intent": {"kind": "classify", "data": "rows"}}
HEAD = HeadSpec(name="intent", kind="classify", labels=["a", "b", "c"])


def said(logits):
    return [Said({"intent": np.asarray(row, np.float32)}) for row in logits]


@pytest.mark.parametrize(
    ("accuracy", "cut"),
    [(1.0, 0.9), (0.9, 0.8), (0.5, 0.1), (0.0001, 0.1)],
)
def test_the_threshold_is_the_lowest_that_is_right_often_enough(accuracy, cut):
    confidence = np.repeat(np.asarray([0.9, 0.8, 0.1], np.float32), 20)
    right = np.asarray([True] * 20 + [True] * 16 + [False] * 4 + [False] * 20)
    assert sure_from(confidence, right, accuracy) == pytest.approx(cut)


def test_no_threshold_is_better_than_a_wrong_one():
    assert sure_from(np.full(40, 0.5, np.float32), np.arange(40) % 2 == 0, 0.9) is None  # one confidence
    assert sure_from(np.linspace(1, 0, 40, dtype=np.float32), np.arange(40) < 10, 1.0) is None  # too few rows


def test_the_surest_are_taken_within_bounds():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 60)
    valid = np.eye(3)[truth] * 4 + rng.normal(size=(60, 3)) * 1.8
    unseen = np.concatenate([np.eye(3)[[0] * 12 + [1] * 3 + [2] * 3] * 6, np.zeros((4, 3))])
    unseen[5] *= 1.2
    options = Unlabelled(data="more", accuracy=0.85, balanced=False)
    found = pseudo_labels(HEAD, said(valid), truth, said(unseen), options)
    assert found.rows[0] == 5  # surest first
    assert found.told["above"] == found.told["taken"] == 18  # those of which nothing is known are not taken
    assert sorted(found.labels) == [0] * 12 + [1] * 3 + [2] * 3
    even = pseudo_labels(
        HEAD, said(valid), truth, said(unseen), options.model_copy(update={"balanced": True})
    )
    assert [even.labels.count(label) for label in range(3)] == [6, 3, 3]  # twice the median
    most = pseudo_labels(HEAD, said(valid), truth, said(unseen), options.model_copy(update={"most": 2}))
    assert [most.labels.count(label) for label in range(3)] == [2, 2, 2]
    none = pseudo_labels(HEAD, said(valid), (truth + 1) % 3, said(unseen), options)
    assert (none.rows, none.told["threshold"]) == ([], None)
    with pytest.raises(
        BadInput, match="sets its threshold on 20 validation rows of head 'intent', there are 3"
    ):
        pseudo_labels(HEAD, said(valid[:3]), truth[:3], said(unseen), options)


def test_known_and_repeated_texts_are_left_out(recipe):
    rows = [{"text": t} for t in ("one", "Two  words", "one", "", "new", "held out")]
    found = texts_of(recipe(), "more", {"more": Rows(rows)}, ["two words", "held out"])
    assert [row.text for row in found] == ["one", "new"]
    with pytest.raises(BadInput, match="has no new text in column 'text'"):
        texts_of(recipe(), "more", {"more": Rows(rows[:1])}, ["one"])
    with pytest.raises(BadInput, match="reads data 'more'; given are none"):
        texts_of(recipe(), "more", {}, [])


def test_only_sure_answers_are_handed_to_the_twin(recipe, tiny):
    made = recipe(heads=INTENT)
    specs = head_specs(made, {"rows": Rows(tiny_rows())})
    model = load(resolve(str(tiny), home=tiny), made, specs)[0]
    logits = torch.tensor([[4.0, 0.0, 0.0], [0.1, 0.0, 0.0], [0.0, 0.0, 3.0], [0.0, 2.0, 0.0]])
    logits.requires_grad_()
    batch = {"lessons": {"twins": {"rows": torch.tensor([0, 1]), "twins": torch.tensor([2, 3])}}}
    loss = Consistent(2.0, 0.8, 0.4).extra_loss(model, batch, Pass(logits.sum(), {}, {"intent": logits}))
    wanted = (logits[0] / 0.4).softmax(-1)
    by_hand = 2 * (wanted * (wanted.log() - logits[2].log_softmax(-1))).sum()
    assert float(loss.detach()) == pytest.approx(float(by_hand.detach()), rel=1e-4)
    loss.backward()
    assert logits.grad[[0, 1, 3]].abs().sum() == 0  # no gradient to the text itself, none where it is unsure
    assert logits.grad[2].abs().sum() > 0
    assert Consistent(2.0, 0.8, 0.4).extra_loss(model, {}, Pass(logits.sum(), {})) is None


def trained(made, data, home, ground_train=None):
    """Return the accuracy on half of the rows, what was told, and the prepared rows."""
    base = resolve(made.base, home=home)
    specs = head_specs(made, data)
    made = made.resolved(rows=9, precision="fp32", base_sha256=base.sha256, max_tokens=40)

    def body():
        model, tokenizer, length = load(base, made, specs)
        return model, Feed(tokenizer, length)

    ground = Ground(made, specs, data, home, body, ground_train)
    sides = [examples(made, specs, data, side) for side in ("train", "valid")]
    ready = prepared(ground, *sides)
    set_seed(0)
    model, feed = body()
    tune(model, feed, made, ready.train, [], home / "work", progress=False)
    unseen = examples(made, specs, {"rows": Rows(tiny_rows()[1::2])}, "train")
    answers = stacked(said_in_training(model, feed, unseen), "intent").argmax(1)
    return float(np.mean(answers == [row.targets["intent"] for row in unseen])), ready


FEW = [row for row in tiny_rows() if row["text"].endswith("gone now") or "bad now" in row["text"]]
FEW += [row for row in tiny_rows() if row["text"].startswith("card not here now")]


@pytest.mark.parametrize("kinds", [["pseudo"], ["pseudo", "consistency"], ["consistency"]], ids=str)
def test_few_labels_and_many_texts_are_learnt_from(recipe, tmp_path, kinds):
    data = {"rows": Rows(FEW, tiny_rows()[1::2]), "more": Rows(tiny_rows()[::2])}
    train = {"epochs": 6, "rate": 2e-3}
    beside = {"data": "more", "kinds": kinds, "accuracy": 0.75, "confidence": 0.5}
    score, ready = trained(recipe(heads=INTENT, train=train, unlabelled=beside), data, tmp_path)
    told = ready.told["unlabelled"]
    assert told["rows"] == 27
    assert len(ready.train) > len(FEW)
    if "pseudo" in kinds:
        assert 5 < told["intent"]["taken"] <= 27
        taught = [row for row in ready.train if PSEUDO in row.lessons]
        assert len(taught) == told["intent"]["taken"]
        assert all(row.lessons[PSEUDO]["intent"].sum() == 1 and not row.targets for row in taught)
    assert ("consistency" in kinds) == any(row.twin is not None for row in ready.train)
    assert score > (0.7 if "pseudo" in kinds else 0.5)  # a tiny body has no more to give to twins alone


def test_a_first_model_may_give_the_labels(recipe, trained_first, tmp_path):
    data = {"rows": Rows(FEW, tiny_rows()[1::2]), "more": Rows(tiny_rows()[::2])}
    asked = []

    def first(one, folder):
        asked.append((one.unlabelled, one.heads == made.heads))
        trained_first(folder)
        assert (folder / DONE).is_file()

    made = recipe(heads=INTENT, train={"epochs": 1}, unlabelled={"data": "more", "by": "first"})
    _, ready = trained(made, data, tmp_path, first)
    assert asked == [(None, True)]
    assert ready.told["unlabelled"]["intent"]["taken"] > 20


@pytest.fixture
def trained_first(request):
    import shutil

    folder = request.getfixturevalue("trained")
    return lambda target: shutil.copytree(folder, target)


def test_what_does_not_go_together_is_refused(recipe):
    only = {"tags": {"kind": "multilabel", "data": "rows", "label": "tags"}}
    with pytest.raises(BadInput, match="unlabelled is for heads of kind classify, and there is none"):
        recipe(heads=only, unlabelled={"data": "more"})
    with pytest.raises(BadInput, match="unlabelled needs training step by step"):
        recipe(method={"kind": "frozen"}, unlabelled={"data": "more"})
