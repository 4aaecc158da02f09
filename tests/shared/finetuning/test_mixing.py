"""Several sources and heads in one training: how often rows are shown, how much each loss counts."""

from collections import Counter

import pytest
import torch
from transformers import set_seed

from shared.finetuning.bases import resolve
from shared.finetuning.collate import Collator
from shared.finetuning.examples import examples, head_specs
from shared.finetuning.feeding import Feed
from shared.finetuning.loop import fit
from shared.finetuning.methods.build import techniques
from shared.finetuning.methods.uncertainty import Balance
from shared.finetuning.rows import Rows
from shared.finetuning.sampling import LengthGrouped, Mixed, shares
from shared.finetuning.train import load
from shared.finetuning.tuning import tune
from shared.testing.tiny_models import tiny_rows

TWO = {
    "intent": {"kind": "classify", "data": "large"},
    "tags": {"kind": "multilabel", "data": "small", "label": "tags"},
}
DATA = {"large": Rows(tiny_rows()[:50]), "small": Rows(tiny_rows()[50:])}


@pytest.mark.parametrize(
    ("sizes", "temperature", "wanted"),
    [
        ({"a": 90, "b": 10}, 1, {"a": 90, "b": 10}),
        ({"a": 90, "b": 10}, 2, {"a": 75, "b": 25}),  # 3 to 1, the roots of 9 to 1
        ({"a": 90, "b": 10}, 1e9, {"a": 50, "b": 50}),
        ({"a": 5, "b": 5, "c": 1}, 1e9, {"a": 4, "b": 4, "c": 3}),  # of equal remainders the earlier
        ({"a": 7}, 3, {"a": 7}),
        ({"a": 10**9, "b": 1}, 1, {"a": 10**9, "b": 1}),
    ],
)
def test_shares_grow_slower_than_sources(sizes, temperature, wanted):
    assert shares(sizes, temperature) == wanted


def test_rows_of_a_source_are_shown_equally_often():
    sources = ["large"] * 50 + ["small"] * 10
    mixed = Mixed(sources, 3.0, seed=7)
    assert mixed(3) == Mixed(sources, 3.0, seed=7)(3)
    assert sorted(mixed(3)) != sorted(mixed(4))
    assert sorted(mixed(3)) != sorted(Mixed(sources, 3.0, seed=8)(3))
    seen = Counter(row for epoch in range(7) for row in mixed(epoch))
    for rows in (range(50), range(50, 60)):
        counts = [seen[row] for row in rows]
        assert max(counts) - min(counts) <= 1
    assert min(seen[row] for row in range(50, 60)) > max(seen[row] for row in range(50))
    plain = Mixed(sources, 1.0, seed=7)
    assert sorted(plain(0)) == sorted(plain(5)) == list(range(60))


def test_an_epoch_shows_what_was_chosen():
    lengths = [i % 7 for i in range(60)]
    mixed = Mixed(["large"] * 50 + ["small"] * 10, 1e9, seed=0)
    order = LengthGrouped(lengths, 8, 0, mixed)
    order.set_epoch(2)
    assert len(order) == 60
    assert sorted(order) == sorted(mixed(2))


class Noting(Collator):
    """Notes the source of each row."""

    def __init__(self, *given):
        super().__init__(*given)
        self.seen = []

    def __call__(self, batch):
        self.seen += [example.source for example in batch]
        return super().__call__(batch)


def parts(made, home):
    set_seed(0)
    specs = head_specs(made, DATA)
    model, tokenizer, length = load(resolve(made.base, home=home), made, specs)
    return model, examples(made, specs, DATA, "train"), specs, Feed(tokenizer, length)


@pytest.mark.parametrize(
    ("train", "wanted"), [({}, 50), ({"mix": "temperature", "mix_temperature": 1e6}, 30)], ids=str
)
def test_a_training_shows_sources_as_they_are_mixed(recipe, tmp_path, train, wanted):
    made = recipe(heads=TWO, train={**train, "epochs": 2, "batch": 30})
    model, rows, specs, feed = parts(made, tmp_path)
    collator = Noting(specs, feed)
    losses, _ = fit(model, made, rows, collator, None, tmp_path / "work", progress=False)
    assert losses[-1]["step"] == 4
    assert Counter(collator.seen) == {"large": 2 * wanted, "small": 2 * (60 - wanted)}


def test_a_weight_settles_where_its_loss_is():
    balance = Balance({"label": False, "number": True, "values": False})
    step = torch.optim.Adam(balance.parameters(), lr=0.1)
    for _ in range(300):
        step.zero_grad()
        # Four rows of loss 3, two of loss 5, none of the last.
        (balance("label", torch.tensor(12.0), 4) + balance("number", torch.tensor(10.0), 2)).backward()
        step.step()
    found = {name: float(log.detach().exp()) for name, log in balance.logs.items()}
    # exp(-s) l + s / 2 is least at exp(s) = 2 l, exp(-s) l / 2 + s / 2 at exp(s) = l.
    assert found == pytest.approx({"of_label": 6.0, "of_number": 5.0, "of_values": 1.0}, rel=1e-2)


def test_heads_are_weighed_while_they_learn_and_not_after(recipe, tmp_path):
    found = {}
    for weighting in ("fixed", "uncertainty"):
        train = {"epochs": 3, "head_rate": 0.05, "weighting": weighting}
        made = recipe(heads=TWO, train=train)
        model, rows, specs, feed = parts(made, tmp_path)
        own = techniques(made, steps=10)
        for part in own:
            part.prepare(model, made)
        work = tmp_path / weighting
        fit(model, made, rows, Collator(specs, feed), None, work, techniques=own, progress=False)
        found[weighting] = {k: float(v) for k, v in model.state_dict().items() if k.startswith("balance")}
        for part in own:
            part.finish(model)
        assert not [name for name in model.state_dict() if name.startswith("balance")]
    assert found["fixed"] == {}
    moved = found["uncertainty"]
    assert set(moved) == {"balance.logs.of_intent", "balance.logs.of_tags"}
    assert all(abs(value) > 0.01 for value in moved.values())
    made = recipe(heads=TWO, train={"epochs": 1, "weighting": "uncertainty"})
    model, rows, _, feed = parts(made, tmp_path)
    curves = tune(model, feed, made, rows, rows, tmp_path / "tuned", progress=False)
    assert curves["epochs"][-1]["score"] > 0.5
