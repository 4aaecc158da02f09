"""A search over recipe fields: what may be asked, what is tried, and how a killed one goes on."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from shared.errors import BadInput, Conflict, UsageError
from shared.finetuning.recipe import Recipe
from shared.finetuning.rows import Rows
from shared.finetuning.search import search
from shared.finetuning.space import applied, default_space, parse_space, standing
from shared.testing.tiny_models import tiny_rows

INTENT = {"intent": {"kind": "classify", "data": "rows"}}
RATES = {"train.rate": {"low": 1e-4, "high": 1e-2, "log": True}, "train.epochs": {"low": 1, "high": 3}}


@pytest.fixture
def asked(recipe, rows, tmp_path):
    def make(space=RATES, trials=2, seed=0, name="journal", **changes):
        made = recipe(heads=INTENT, **changes)
        options = {"trials": trials, "seed": seed, "home": tmp_path, "progress": False}
        return search(made, parse_space(space, made), {"rows": rows}, journal=tmp_path / name, **options)

    return make


@pytest.mark.parametrize(
    ("space", "said"),
    [
        ({"train.rat": {"low": 1, "high": 2}}, 'search: "train.rat" names no field.*did you mean rate'),
        ({"train": {"rate": {"low": 2, "high": 1}}}, 'search."train.rate": .*low 2 must be below high 1'),
        ({"train.rate": {"low": -1.0, "high": 1}}, r"can't be -1.0: .*rate must be above 0.*\(got -1.0\)"),
        ({"train.rate": {"low": 0, "high": 1, "log": True}}, "log needs a low above 0"),
        ({"train.rate": {"low": 1, "high": 2, "logg": True}}, "logg: Extra inputs"),
        ({"train.rate": 5}, 'search."train.rate": Input should be'),
        ({"train.epochs": {"low": 1.5, "high": 3}}, "takes whole numbers"),
        ({"train.optimiser": {"low": 1, "high": 2}}, "is no number; give choices"),
        ({"train.optimiser": {"choices": ["adamw", "sgd"]}}, "can't be 'sgd'"),
        ({"train.batch": {"choices": []}}, "one or more, each once"),
        ({"train.batch": {"choices": [8], "low": 1}}, "choices stand alone"),
        ({"heads.b.weight": {"low": 1, "high": 2}}, "heads has intent"),
        ({"heads.intent": {"choices": [{}]}}, "is a whole head"),
        ({"method.rank": {"low": 1, "high": 2}}, "rank belongs to method lora"),
        ({"data.rows.text": {"choices": ["a"]}}, "can't be searched; allowed are base"),
        ({"train.seed": {"low": 1, "high": 3}}, "without seed"),
        ({"method": {"choices": [{"kind": "full"}]}, "method.c": {"low": 1, "high": 2}}, "are one field"),
        ({}, "the table is empty"),
    ],
    ids=str,
)
def test_a_space_that_can_not_be_is_refused(recipe, space, said):
    with pytest.raises(BadInput, match=said):
        parse_space(space, recipe(heads=INTENT))


def test_tables_are_choices_and_default_leaves_a_field_out(recipe):
    made = recipe(heads=INTENT, train={"adversarial": {"kind": "pgd"}})
    tree = {
        "method": {"choices": [{"kind": "full"}, {"kind": "lora", "rank": 4}]},
        "train": {"adversarial": {"choices": ["default", {"kind": "fgm", "epsilon": 0.5}]}},
    }
    assert [place.path for place in parse_space(tree, made)] == ["method", "train.adversarial"]
    changed = applied(made, {"method": {"kind": "lora", "rank": 4}, "train.adversarial": "default"})
    assert (changed.method.rank, changed.train.adversarial) == (4, None)
    deep = applied(made, {"train.adversarial.epsilon": 0.25})
    assert (deep.train.adversarial.kind, deep.train.adversarial.epsilon) == ("pgd", 0.25)
    assert [place.path for place in default_space(recipe(heads=INTENT, method={"kind": "frozen"}))] == [
        "method.c"
    ]
    table, attack = parse_space(tree, recipe(heads=INTENT))
    assert standing(table, recipe(heads=INTENT), 10) == {"kind": "full"}
    assert standing(attack, recipe(heads=INTENT), 10) == "default"
    assert standing(attack, made, 10) is None
    epochs = parse_space({"train.epochs": {"low": 2, "high": 10}}, made)[0]
    assert standing(epochs, recipe(heads=INTENT, train={"epochs": "auto"}), 6000) == 4
    lean = default_space(recipe(heads=INTENT, method={"kind": "lora"}))
    assert {place.path: place.range for place in lean}["train.rate"].high == pytest.approx(2e-3)


def test_the_table_of_a_recipe_file_does_not_change_the_recipe(recipe):
    made = recipe(heads=INTENT)
    assert Recipe.parse({**made.model_dump(), "search": RATES}) == made


def test_a_search_in_two_parts_is_one(asked, recipe, tmp_path):
    first = asked(trials=2)
    assert [one.number for one in first.trials] == [0, 1]
    assert first.trials[0].fields == {"train.rate": 1e-3, "train.epochs": 2}  # the recipe as it stands
    again = asked(trials=4)
    assert again.trials[:2] == first.trials
    whole = asked(trials=4, name="other")
    kept = [(one.state, one.fields, one.score, one.loss) for one in again.trials]
    assert kept == [(one.state, one.fields, one.score, one.loss) for one in whole.trials]
    known = (tmp_path / "journal").read_text("utf-8").splitlines()
    assert asked(trials=4).trials == again.trials
    # The study was asked for once more; no trial began.
    assert (tmp_path / "journal").read_text("utf-8").splitlines()[:-1] == known
    assert len(asked(trials=1, seed=1).trials) == 1  # another seed is another search
    best = max(again.trials, key=lambda one: (one.score, -one.loss))
    assert again.best == best
    assert again.recipe == applied(recipe(heads=INTENT), best.fields)
    names = ("low", "q1", "median", "q3", "high")
    assert list(again.spread.values()) == sorted(again.spread[name] for name in names)
    json.dumps(again.told())


CHILD = """
import json, sys
sys.path.insert(0, sys.argv[3])
from pathlib import Path
from test_search import searched
searched(json.loads(sys.argv[1]), Path(sys.argv[2]))
"""


def searched(tree, home):
    made, rows = Recipe.parse(tree), tiny_rows()
    space = parse_space({"train.rate": {"low": 1e-4, "high": 1e-2, "log": True}}, made)
    data = {"rows": Rows(rows[::2], rows[1::2])}
    return search(made, space, data, trials=2, journal=home / "journal", home=home, progress=False)


def test_a_killed_search_goes_on(recipe, tmp_path):
    made = recipe(heads=INTENT, train={"epochs": 8, "patience": None, "start": "random"})
    tree = json.loads(made.model_dump_json())
    here, work = Path(__file__).parent, tmp_path / "killed" / "work" / "search"
    for name in ("killed", "whole"):
        (tmp_path / name).mkdir()
    child = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", CHILD, json.dumps(tree), str(tmp_path / "killed"), str(here)],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(here.parents[2]), os.environ.get("PYTHONPATH", "")]),
        },
        stdout=subprocess.DEVNULL,
    )
    try:
        while not any(work.glob("*/checkpoint-*/trainer_state.json")):
            assert child.poll() is None
            os.sched_yield()
    finally:
        child.kill()
        child.wait()
    again, whole = (searched(tree, tmp_path / name) for name in ("killed", "whole"))
    assert list(work.iterdir()) == []
    assert len(again.trials) == 2
    for one, other in zip(again.trials, whole.trials, strict=True):
        assert (one.fields, one.state, one.epochs) == (other.fields, other.state, other.epochs)
        assert one.score == pytest.approx(other.score, abs=1e-3)


def test_a_failed_trial_is_not_the_end(asked):
    found = asked({"train.rate": {"choices": [1e30, 1e-3]}}, trials=3, train={"clip": 0, "warmup": 0})
    states = {one.fields["train.rate"]: one.state for one in found.trials}
    assert states == {1e30: "failed", 1e-3: "complete"}
    assert any("the loss became nan" in one.why for one in found.trials)
    assert found.best.fields == {"train.rate": 1e-3}
    assert any(one.same_as is not None for one in found.trials)  # three trials of two choices
    with pytest.raises(BadInput, match=r"none of 1 trials came to a score.*loss became"):
        asked({"train.rate": {"choices": [1e30]}}, trials=1, train={"clip": 0, "warmup": 0})


def test_a_hopeless_trial_ends_early(asked):
    train = {"start": "random", "epochs": 4, "patience": None, "head_rate": 0.05}
    space = {
        "train.rate": {"choices": [1e-8, 2e-3, 3e-3, 4e-3, 5e-3]},
        "train.head_rate": {"choices": [0.05]},
    }
    found = asked(space, trials=9, train={**train, "rate": 2e-3})
    pruned = [one for one in found.trials if one.state == "pruned"]
    assert pruned
    assert all(one.epochs < 4 for one in pruned)
    assert found.best.state == "complete"
    assert not math.isnan(sum(found.importance.values()))


def test_a_journal_cut_short_is_mended_and_another_file_refused(asked, tmp_path):
    first = asked(trials=1)
    with (tmp_path / "journal").open("a", encoding="utf-8") as file:
        file.write('{"op_code":5,"wor')
    assert asked(trials=1).trials == first.trials
    assert len(asked(trials=2).trials) == 2
    (tmp_path / "notes").write_text("these are notes\n", "utf-8")
    with pytest.raises(Conflict, match="is no journal of a search"):
        asked(trials=1, name="notes")


def test_what_a_search_needs_is_said(recipe, rows, tmp_path, monkeypatch):
    made = recipe(heads=INTENT)
    options = {"trials": 1, "journal": tmp_path / "journal", "home": tmp_path}
    with pytest.raises(BadInput, match="there are no validation rows"):
        search(made, parse_space(RATES, made), {"rows": Rows(rows.train)}, **options)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="one process"):
        search(made, parse_space(RATES, made), {"rows": rows}, **options)
