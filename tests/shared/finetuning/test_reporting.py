"""Programs that draw curves: asked for by name, written below the home, never in the way."""

import importlib.util
import json

import pytest

from shared.errors import BadInput
from shared.finetuning import reporting
from shared.finetuning.train import finetune
from shared.models.text_model import TextModel


@pytest.mark.parametrize("name", ["tensorboard", "wandb"])
def test_a_tracker_that_is_not_installed_is_named(monkeypatch, name):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(BadInput, match=rf'names "{name}", which is not installed; install the extra "track"'):
        reporting.check_trackers([name])


@pytest.mark.parametrize("name", ["tensorboard", "wandb"])
def test_a_training_is_tracked_without_a_network(recipe, rows, tmp_path, monkeypatch, capfd, name):
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed (extra track)")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    heads = {"intent": {"kind": "classify", "data": "rows"}}
    # A prompt has no graph to be exported, which takes most of a tiny training's time.
    made = recipe(heads=heads, method={"kind": "prompt"}, train={"track": [name], "epochs": 1})
    finetune(made, {"rows": rows}, tmp_path / "out", home=tmp_path / "home", progress=False)
    files = [path for path in (tmp_path / "home" / "tracking").rglob("*") if path.is_file()]
    written = b"".join(path.read_bytes() for path in files)
    assert b"score" in written
    assert name not in capfd.readouterr().out  # stdout belongs to results
    lines = (tmp_path / "out" / "steps.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line)["step"] for line in lines if "eval_score" in line] == [0, 6]
    assert TextModel.load(tmp_path / "out").heads["intent"].labels == ["card", "money", "rate"]
    assert recipe().hash() == recipe(train={"track": [name]}).hash()  # a curve elsewhere is the same training
