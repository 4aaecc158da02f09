"""A generator tuned by two processes is the one that a single process makes of the same steps."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from shared.finetuning.generate import finetune_generator
from shared.finetuning.generator import Generator
from shared.testing.tiny_generators import tiny_llama, tiny_replies

ROWS = tiny_replies()
TRAIN, VALID = ROWS[4:], ROWS[:4]  # 16 rows: two steps of 8
CHILD = """
import json, sys
from pathlib import Path
from shared.finetuning import processes
from shared.finetuning.generate import finetune_generator
from shared.testing.tiny_generators import tiny_replies

fields, place = json.loads(sys.argv[1]), Path(sys.argv[2])
rows = tiny_replies()
report = finetune_generator(fields, rows[4:], rows[:4], place / "out", home=place, progress=False)
told = {"metrics": report.metrics, "epochs": report.curves["epochs"], "scored": report.scores is not None}
(place / f"rank{0 if processes.main() else 1}.json").write_text(json.dumps(told))
"""


def test_two_processes_take_the_steps_of_one(tmp_path):
    base = tiny_llama(tmp_path / "base", [f"{row['question']} {row['reply']}" for row in ROWS])
    fields = {
        "base": str(base), "method": "full", "rate": 3e-3, "warmup": 0, "epochs": 2, "precision": "fp32",
        "max_tokens": 128, "max_reply_tokens": 48,
    }  # fmt: skip
    alone = finetune_generator(
        {**fields, "batch": 4, "accumulate": 2}, TRAIN, VALID, tmp_path / "one", home=tmp_path, progress=False
    )
    child = tmp_path / "child.py"
    child.write_text(CHILD, "utf-8")
    shared = {**fields, "batch": 4, "accumulate": 1}
    paths = os.pathsep.join([str(Path(__file__).parents[3]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [
            *(sys.executable, "-W", "ignore", "-m", "torch.distributed.run", "--standalone"),
            *("--nproc-per-node", "2", str(child), json.dumps(shared), str(tmp_path)),
        ],
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told = [json.loads((tmp_path / f"rank{rank}.json").read_text("utf-8")) for rank in (0, 1)]
    assert [one.pop("scored") for one in told] == [True, False]
    assert told[0] == told[1]
    for mine, theirs in zip(alone.curves["epochs"], told[0]["epochs"], strict=True):
        assert theirs == pytest.approx(mine, rel=1e-3)
    Generator.load(tmp_path / "out")
