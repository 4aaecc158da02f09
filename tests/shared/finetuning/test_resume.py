"""A killed training goes on as if it had not been, whatever its methods remember."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from transformers import set_seed

from shared.finetuning.bases import resolve
from shared.finetuning.checkpoints import checkpoint
from shared.finetuning.examples import examples, head_specs
from shared.finetuning.feeding import Feed
from shared.finetuning.keep import BEST
from shared.finetuning.loop import Diverged
from shared.finetuning.recipe import Recipe
from shared.finetuning.rows import Rows
from shared.finetuning.train import load
from shared.finetuning.tuning import tune
from shared.testing.tiny_models import tiny_rows
from shared.testing.training import apart

CHILD = """
import json, sys
sys.path.insert(0, sys.argv[3])
from pathlib import Path
from test_resume import trained
trained(json.loads(sys.argv[1]), Path(sys.argv[2]))
"""


def trained(tree, home):
    made = Recipe.parse(tree)
    rows = tiny_rows()
    data = {"rows": Rows(rows[::2], rows[1::2])}
    set_seed(made.train.seed)
    specs = head_specs(made, data)
    model, tokenizer, length = load(resolve(made.base, home=home), made, specs)
    train, valid = (examples(made, specs, data, side) for side in ("train", "valid"))
    curves = tune(model, Feed(tokenizer, length), made, train, valid, home / "work", progress=False)
    return model.state_dict(), curves


def has_checkpoint(work):
    try:
        return any(path.stat().st_size for path in work.glob("checkpoint-[1-3]?/trainer_state.json"))
    except FileNotFoundError:  # an old one went while it was looked at
        return False


@pytest.mark.parametrize(
    "changes",
    [
        {"train": {"average": {"kind": "ema"}, "dropout": 0.1, "rdrop": 0.5, "schedule": "plateau"}},
        {
            "method": {"kind": "adalora"},
            "train": {"average": {"kind": "swa", "start": 0.1}, "weighting": "uncertainty"},
        },
    ],
    ids=["ema, r-drop, plateau", "adalora, swa, uncertainty"],
)
def test_a_killed_training_ends_like_one_that_was_not(recipe, tmp_path, changes):
    train = {"epochs": 16, "rate": 2e-3, "patience": None, "start": "random", **changes.pop("train")}
    made = recipe(train=train, **changes)
    tree = json.loads(made.model_dump_json())
    here = Path(__file__).parent
    child = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", CHILD, json.dumps(tree), str(tmp_path / "killed"), str(here)],
        env={**os.environ, "PYTHONPATH": str(here.parents[2])},
    )
    deadline = time.monotonic() + 200
    try:
        while not has_checkpoint(tmp_path / "killed" / "work"):
            assert child.poll() is None
            assert time.monotonic() < deadline
            os.sched_yield()
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert not (tmp_path / "killed" / "work" / "done.json").exists()
    again, curves = trained(tree, tmp_path / "killed")
    whole, wanted = trained(tree, tmp_path / "whole")
    for part in ("losses", "epochs"):
        assert len(curves[part]) == len(wanted[part])
        for one, other in zip(curves[part], wanted[part], strict=True):
            assert one == pytest.approx(other, abs=1e-4)
    assert apart(again, whole) < 1e-3
    lines = [
        (tmp_path / run / "work" / "steps.jsonl").read_text("utf-8").splitlines()
        for run in ("killed", "whole")
    ]
    steps = [[json.loads(line)["step"] for line in run if "train_runtime" not in line] for run in lines]
    assert steps[0] == steps[1]  # what the kill left behind the checkpoint is told once


@pytest.mark.parametrize("state", [None, "", '{"global_step": 2'], ids=["missing", "empty", "cut short"])
def test_a_checkpoint_that_a_kill_cut_short_gives_way_to_the_one_before(tmp_path, state):
    for step, text in ((9, '{"global_step": 9}'), (10, '{"global_step": 10}'), (20, state)):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        if text is not None:
            (folder / "trainer_state.json").write_text(text, "utf-8")
    assert checkpoint(tmp_path) == str(tmp_path / "checkpoint-10")
    assert not (tmp_path / "checkpoint-20").exists()


def test_a_loss_that_is_no_number_leaves_the_best_weights(recipe, tmp_path):
    tree = json.loads(recipe(train={"rate": 1e30, "clip": 0, "warmup": 0}).model_dump_json())
    best = tmp_path / "work" / BEST
    with pytest.raises(Diverged, match=rf"nan at step \d+.*the best weights before that are in {best}"):
        trained(tree, tmp_path)
    assert best.is_file()
