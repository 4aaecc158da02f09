"""Two processes take the step of one, and one of them writes."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from shared.models.text_model import TextModel

# Runs alone and under torchrun: the first step's gradient norm and loss, then a whole training.
CHILD = """
import json, math, sys
from pathlib import Path
from transformers import set_seed
from shared.finetuning import loop, processes
from shared.finetuning.bases import resolve
from shared.finetuning.collate import Collator
from shared.finetuning.examples import examples, head_specs
from shared.finetuning.feeding import Feed
from shared.finetuning.methods.build import techniques
from shared.finetuning.methods.technique import Technique
from shared.finetuning.recipe import Recipe
from shared.finetuning.rows import Rows
from shared.finetuning.train import finetune, load
from shared.testing.tiny_models import tiny_rows

recipe, place, batch = json.loads(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
rows = sorted(tiny_rows(), key=lambda row: row["text"][::-1])  # labels mixed
data = {"rows": Rows(rows[:32], rows[32:])}
processes.begin()

class Norm(Technique):
    def __init__(self):
        self.found = []
    def save(self, folder):
        assert processes.main()
    def on_pre_optimizer_step(self, args, state, control, model=None, **_):
        grads = [p.grad for p in model.parameters() if p.grad is not None]
        self.found.append(math.sqrt(sum(float(g.square().sum()) for g in grads)))

told = {"processes": processes.count()}
TRAINS = {
    "plain": {},
    "accumulated": {"batch": batch // 2, "accumulate": 2},
    "rdrop, fgm, ema": {"rdrop": 1.0, "adversarial": {"kind": "fgm"}, "average": {"kind": "ema"}},
    "uncertainty": {"weighting": "uncertainty"},
}
for name, train in TRAINS.items():
    options = {**recipe["train"], "batch": batch, "epochs": 1, "clip": 0, **train}
    made = Recipe.parse({**recipe, "train": options})
    set_seed(3)
    specs = head_specs(made, data)
    model, tokenizer, length = load(resolve(made.base, home=place), made, specs)
    parts = techniques(made, steps=4)
    for part in parts:
        part.prepare(model, made)
    norm = Norm()
    trained, collator = examples(made, specs, data, "train"), Collator(specs, Feed(tokenizer, length))
    work = place / name / str(processes.count())
    losses, _ = loop.fit(
        model, made, trained, collator, None, work, techniques=[norm, *parts], progress=False
    )
    told[name] = {"norms": norm.found, "losses": [row["loss"] for row in losses]}
if processes.count() > 1:
    report = finetune(Recipe.parse(recipe), data, place / "out", home=place / "home", progress=False)
    told |= {"metrics": report.metrics, "epochs": report.curves["epochs"]}
    (place / f"rank{0 if processes.main() else 1}.json").write_text(json.dumps(told))
else:
    (place / "alone.json").write_text(json.dumps(told))
"""


@pytest.fixture
def told(recipe, tmp_path, monkeypatch):
    heads = {
        "intent": {"kind": "classify", "data": "rows"},
        "tags": {"kind": "multilabel", "data": "rows", "label": "tags"},
    }
    tree = recipe(heads=heads, train={"epochs": 2, "batch": 4}).model_dump_json()
    child = tmp_path / "child.py"
    child.write_text(CHILD, "utf-8")
    paths = os.pathsep.join([str(Path(__file__).parents[3]), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    torchrun = ["-W", "ignore", "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [sys.executable, *torchrun, str(child), tree, str(tmp_path), "4"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-20_000:]
    monkeypatch.setattr(sys, "argv", [str(child), tree, str(tmp_path), "8"])
    runpy.run_path(str(child))
    return {name: json.loads((tmp_path / f"{name}.json").read_text()) for name in ("alone", "rank0", "rank1")}


def test_two_processes_are_one(told, tmp_path):
    alone, first, second = told["alone"], told["rank0"], told["rank1"]
    assert (alone["processes"], first["processes"]) == (1, 2)
    for name in ("plain", "accumulated", "rdrop, fgm, ema", "uncertainty"):
        assert len(alone[name]["norms"]) == 4
        assert first[name]["norms"] == pytest.approx(alone[name]["norms"], rel=1e-3)
        assert second[name]["norms"] == pytest.approx(first[name]["norms"], rel=1e-6)
        assert first[name]["losses"] == pytest.approx(alone[name]["losses"], rel=1e-3)
    assert (first["metrics"], first["epochs"]) == (second["metrics"], second["epochs"])
    model = TextModel.load(tmp_path / "out")  # its self-test passes, so one process wrote it
    assert first["metrics"]["intent"]["accuracy"] > 0.9
    assert model.run(["my card is lost"]).probabilities["intent"].shape == (1, 3)
