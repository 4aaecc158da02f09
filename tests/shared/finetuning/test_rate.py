"""Rate "auto": which rate a rehearsal finds, and that it leaves no trace but the number."""

import json

import pytest
from transformers import set_seed

from shared.errors import BadInput
from shared.finetuning.bases import resolve
from shared.finetuning.examples import examples, head_specs
from shared.finetuning.feeding import Feed
from shared.finetuning.rate_test import HIGH, LOW, STEPS, picked, rate_at
from shared.finetuning.rehearsing import rehearsed
from shared.finetuning.train import load
from shared.finetuning.tuning import tune
from shared.testing.training import apart

INTENT = {"intent": {"kind": "classify", "data": "rows"}, "embed": {"kind": "embed"}}


def test_rates_rise_from_low_to_high():
    assert rate_at(0) == LOW
    assert rate_at(STEPS - 1) == pytest.approx(HIGH)
    assert rate_at(50) / rate_at(49) == pytest.approx(rate_at(20) / rate_at(19))


def test_a_tenth_of_the_rate_where_the_loss_begins_to_grow_is_picked():
    valley = [(rate_at(i), abs(i - 60) + 5.0) for i in range(STEPS)]
    assert picked(valley) == pytest.approx(rate_at(60) / 10, rel=0.2)
    outlier = [(rate, 0.0 if i == 20 else loss) for i, (rate, loss) in enumerate(valley)]
    assert picked(outlier) == pytest.approx(picked(valley), rel=0.4)  # one lucky batch is none
    # Between steps 40 and 70 the loss is level but for its noise: the upper end counts.
    level = [(rate_at(i), 5 + max(0, 40 - i, i - 70) + 0.5 * (-1) ** i) for i in range(STEPS)]
    assert picked(level) == pytest.approx(rate_at(70) / 10, rel=0.5)
    assert picked([(rate_at(i), float(i)) for i in range(STEPS)]) == LOW  # it only ever grew
    assert picked([]) == LOW


@pytest.mark.parametrize(
    "changes",
    [
        {"method": {"kind": "lora"}, "train": {"accumulate": 2, "dropout": 0.1}},
        {"train": {"start": "random", "layer_decay": 0.5, "average": {}, "minutes": 5.0}},
    ],
    ids=["lora", "random start"],
)
def test_the_number_gives_the_same_model(recipe, rows, tmp_path, changes):
    train = {"epochs": 1, "max_tokens": 40, **changes.pop("train")}
    asked = recipe(heads=INTENT, train={**train, "rate": "auto"}, **changes)
    data = {"rows": rows}
    specs = head_specs(asked, data)
    learnt = examples(asked, specs, data, "train")

    def trained(made, work):
        set_seed(0)
        model, tokenizer, length = load(resolve(made.base, home=tmp_path), made, specs)
        feed = Feed(tokenizer, length)
        made = rehearsed(made, model, feed, learnt, 0, tmp_path / work)
        tune(model, feed, made, learnt, [], tmp_path / work, progress=False)
        return model.state_dict(), made

    one, found = trained(asked, "auto")
    assert LOW <= found.train.rate <= HIGH / 10
    assert found.train.minutes is None
    told = json.loads((tmp_path / "auto" / "rate.json").read_text("utf-8"))
    assert told["rate"] == found.train.rate
    assert [rate for rate, _ in told["steps"]] == pytest.approx(
        [rate_at(i) for i in range(len(told["steps"]))]
    )
    other, again = trained(found, "again")
    assert again == found
    assert apart(one, other) == 0
    assert trained(asked, "auto")[1] == found  # what was found is kept, for a run that goes on


def test_a_rate_is_a_number_above_none_or_auto(recipe):
    with pytest.raises(BadInput, match='rate must be above 0, or "auto"'):
        recipe(train={"rate": 0})
    with pytest.raises(BadInput, match=r"train\.rate"):
        recipe(train={"rate": "fast"})
    with pytest.raises(BadInput, match="method frozen has no rate to find"):
        recipe(train={"rate": "auto"}, method={"kind": "frozen"})
