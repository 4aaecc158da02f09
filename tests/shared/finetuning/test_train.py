import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from sklearn.linear_model import LogisticRegression

from shared.errors import BadInput
from shared.finetuning import blending
from shared.finetuning.bases import resolve
from shared.finetuning.blending import SHARES, UNSEEN, blend_best
from shared.finetuning.examples import Example, examples, head_specs
from shared.finetuning.feeding import Feed
from shared.finetuning.loop import Diverged
from shared.finetuning.probe import encode, fit_heads
from shared.finetuning.refit import refitted
from shared.finetuning.rows import Rows
from shared.finetuning.train import export_frozen, finetune, load, open_training
from shared.finetuning.tuning import tune
from shared.models.text_model import TextModel
from shared.testing.tiny_models import tiny_rows


def test_full_tuning_learns_all_heads_and_leaves_a_whole_folder(recipe, rows, tmp_path, capfd):
    shorter = recipe(train={"max_tokens": 40})
    report = finetune(shorter, {"rows": rows}, tmp_path / "out", home=tmp_path / "home")
    out = capfd.readouterr()
    assert "fine-tuning" in out.err  # stdout belongs to results
    assert "step" not in out.out
    assert "loss" not in out.out
    assert report.metrics["intent"]["accuracy"] == 1.0
    names = {
        str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file()
    }
    assert names >= {"config.json", "model.safetensors", "heads.safetensors", "model.json", "selftest.json"}
    assert names >= {"onnx/model.onnx", "tokenizer.json", "recipe.json", "curves.json", "evaluation.json"}
    assert not [name for name in names if name.endswith((".bin", ".pt", ".pth", ".pkl"))]
    assert list((tmp_path / "home").rglob("*.*")) == []  # the checkpoints are gone
    curves = json.loads((tmp_path / "out" / "curves.json").read_text("utf-8"))
    assert [point["epoch"] for point in curves["epochs"]] == [0, 1, 2]
    told = json.loads((tmp_path / "out" / "evaluation.json").read_text("utf-8"))["intent"]
    assert np.sum(told["confusion"]) == told["rows"] == len(rows.valid)
    assert sum(step["rows"] for step in told["reliability"]) == told["rows"]
    settled = json.loads((tmp_path / "out" / "recipe.json").read_text("utf-8"))
    assert settled["train"]["precision"] == "fp32"
    assert settled["base_sha256"]
    tokenizer = json.loads((tmp_path / "out" / "tokenizer.json").read_text("utf-8"))
    assert tokenizer["padding"] is None  # a base's file may pad every text to a fixed length
    assert tokenizer["truncation"]["max_length"] == 40


def test_frozen_heads_are_a_logistic_regression(recipe, rows, tiny, tmp_path):
    export_frozen(str(tiny), tmp_path / "frozen", home=tmp_path)
    finetune(
        recipe(method={"kind": "frozen"}), {"rows": rows}, tmp_path / "out", home=tmp_path, progress=False
    )
    base, model = TextModel.load(tmp_path / "frozen"), TextModel.load(tmp_path / "out")
    texts = [str(row["text"]) for row in rows.valid]
    assert base.fingerprint == model.fingerprint  # the backbone did not move
    assert model.embed(texts) == pytest.approx(base.embed(texts), abs=1e-5)
    train = base.embed([str(row["text"]) for row in rows.train])
    plain = LogisticRegression(C=30, max_iter=500).fit(train, [row["label"] for row in rows.train])
    head = model.heads["intent"]
    said = [head.labels[i] for i in model.logits(texts)["intent"].argmax(1)]
    assert said == plain.predict(base.embed(texts)).tolist()


def test_keep_holds_the_vectors_near_the_base(recipe, rows, tmp_path):
    texts = [str(row["text"]) for row in rows.valid]
    moved = {}
    for keep in (0.0, 20.0):
        heads = {"intent": {"kind": "classify", "data": "rows"}, "embed": {"kind": "embed", "keep": keep}}
        made = recipe(heads=heads, train={"max_tokens": 64})
        data = {"rows": Rows(rows.train)}  # without validation rows: both take the last epoch
        specs = head_specs(made, data)
        model, tokenizer, length = load(resolve(made.base, home=tmp_path), made, specs)
        feed = Feed(tokenizer, length)
        before = encode(model, feed, texts)
        train = examples(made, specs, data, "train")
        tune(model, feed, made, train, [], tmp_path / f"{keep}", progress=False)
        moved[keep] = float(1 - (before * encode(model, feed, texts)).sum(1).mean())
    assert moved[20.0] < moved[0.0] / 2


def test_a_loss_that_is_no_number_ends_the_run_with_a_reason(recipe, rows, tmp_path):
    with pytest.raises(Diverged, match=r"the loss became nan at step \d+; lower train.rate"):
        finetune(
            recipe(train={"rate": 1e30, "clip": 0, "warmup": 0}), {"rows": rows}, tmp_path / "out",
            home=tmp_path, progress=False,
        )  # fmt: skip


def test_no_usable_row_is_said(recipe, tmp_path):
    rows = Rows([{"words": row["text"], "label": row["label"], "tags": row["tags"]} for row in tiny_rows()])
    with pytest.raises(BadInput, match="no training row has a text"):
        finetune(recipe(), {"rows": rows}, tmp_path / "out", home=tmp_path, progress=False)


CHILD = """
import json, sys
from pathlib import Path
from shared.finetuning.recipe import Recipe
from shared.finetuning.rows import Rows
from shared.finetuning.train import finetune
from shared.testing.tiny_models import tiny_rows
recipe, home, out = Recipe.parse(json.loads(sys.argv[1])), Path(sys.argv[2]), Path(sys.argv[3])
rows = tiny_rows()
finetune(recipe, {"rows": Rows(rows[::2], rows[1::2])}, out, home=home, work=home / "work")
"""


def has_checkpoint(home):
    try:
        return bool(list(home.rglob("checkpoint-*/trainer_state.json")))
    except FileNotFoundError:  # an old one went while it was looked at
        return False


def test_a_killed_run_goes_on_and_ends_like_one_that_was_not(recipe, tmp_path):
    made = recipe(train={"epochs": 8, "rate": 2e-4, "patience": None})
    rows = tiny_rows()
    data = {"rows": Rows(rows[::2], rows[1::2])}
    command = [sys.executable, "-W", "ignore", "-c", CHILD, made.model_dump_json(), str(tmp_path / "home")]
    child = subprocess.Popen([*command, str(tmp_path / "killed")], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    try:
        while not has_checkpoint(tmp_path / "home"):
            assert child.poll() is None
            assert time.monotonic() < deadline
            os.sched_yield()
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    left = sorted((tmp_path / "home").rglob("checkpoint-*"))
    assert left
    assert not (tmp_path / "killed" / "model.json").exists()
    again = finetune(made, data, tmp_path / "killed", home=tmp_path / "home", work=tmp_path / "home" / "work")
    whole = finetune(made, data, tmp_path / "whole", home=tmp_path / "other", progress=False)
    for part in ("losses", "epochs"):
        for point, other in zip(again.curves[part], whole.curves[part], strict=True):
            assert point == pytest.approx(other, abs=1e-4)
    one, two = TextModel.load(tmp_path / "killed"), TextModel.load(tmp_path / "whole")
    texts = [row["text"] for row in rows]
    assert one.embed(texts) == pytest.approx(two.embed(texts), abs=1e-3)


def test_a_blend_lies_between_the_start_and_the_tuned_weights(recipe, rows, tiny, tmp_path):
    def head(name, **changes):
        asked = recipe(**changes)
        finetune(asked, {"rows": Rows(rows.train, [])}, tmp_path / name, home=tmp_path, progress=False)
        weights = load_file(tmp_path / name / "heads.safetensors")
        body = load_file(tmp_path / name / "model.safetensors")
        return np.concatenate([part[k].ravel() for part in (weights, body) for k in sorted(part)])

    tuned, blended = head("tuned"), head("blended", train={"blend": 0.7})
    start = head("start", train={"blend": 1e-6})
    assert np.abs(tuned - start).max() > 1e-3
    assert blended == pytest.approx(0.7 * tuned + 0.3 * start, abs=1e-6)


def test_the_share_of_a_blend_is_chosen_on_validation_rows_and_kept(recipe, rows, tmp_path):
    asked = recipe(train={"blend": "auto", "refit": True, "epochs": 1})
    report = finetune(asked, {"rows": rows}, tmp_path / "out", home=tmp_path, progress=False)
    share = report.recipe.train.blend
    assert share in SHARES
    assert report.curves["blend"] == share
    told = json.loads((tmp_path / "out" / "recipe.json").read_text("utf-8"))
    assert told["train"]["blend"] == share


def test_the_best_share_has_the_least_loss_of_all(recipe, rows, tiny, tmp_path):
    made = recipe(heads={"intent": {"kind": "classify", "data": "rows", "label": "label"}})
    specs = head_specs(made, {"rows": rows})
    valid = examples(made, specs, {"rows": rows}, "valid")
    model, tokenizer, longest = load(resolve(str(tiny), home=tmp_path), made, specs)
    feed = Feed(tokenizer, longest)
    fit_heads(model, encode(model, feed, [row.text for row in valid]), valid)
    start = {name: part.clone() for name, part in model.state_dict().items()}
    with torch.no_grad():
        model.heads["intent"].weight.mul_(-1)  # an end that is wrong about everything
    assert blend_best(model, feed, start, valid, "fp32") == min(SHARES)
    model.load_state_dict(start)
    assert blend_best(model, feed, start, valid, "fp32") == max(SHARES)  # all are the same
    assert blend_best(model, feed, start, [], "fp32") == UNSEEN


def test_of_many_validation_rows_a_share_is_chosen_on_some(recipe, rows, tiny, tmp_path, monkeypatch):
    made = recipe(heads={"intent": {"kind": "classify", "data": "rows", "label": "label"}})
    specs = head_specs(made, {"rows": rows})
    valid = examples(made, specs, {"rows": rows}, "valid")
    model, tokenizer, longest = load(resolve(str(tiny), home=tmp_path), made, specs)
    read, said = [], blending.said_in_training

    def counted(model, feed, rows, precision):
        read.append([row.text for row in rows])
        return said(model, feed, rows, precision)

    monkeypatch.setattr(blending, "said_in_training", counted)
    blend_best(model, Feed(tokenizer, longest), dict(model.state_dict()), valid, "fp32", 4)
    assert len(valid) > 4
    assert len(read) == len(SHARES)
    assert len(read[0]) == 4
    assert all(own == read[0] for own in read)


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_the_chosen_share_given_as_a_number_makes_the_same_model(recipe, rows, tmp_path, monkeypatch, share):
    monkeypatch.setattr(blending, "SHARES", (share,))

    def weights(asked, name):
        made = recipe(heads={"intent": {"kind": "classify", "data": "rows"}}, train={"blend": asked})
        opened = open_training(made, {"rows": rows}, home=tmp_path, work=tmp_path / name, progress=False)
        settled, _ = opened.tune(progress=False)
        return settled, torch.cat([part.flatten() for part in opened.model.state_dict().values()])

    (chosen, one), (given, two) = weights("auto", "auto"), weights(share, "given")
    assert chosen.hash() == given.hash()
    assert one == pytest.approx(two, abs=1e-6)


@pytest.mark.parametrize(
    ("scores", "steps"),
    [
        ([0.5, 0.7, 0.8], 25),  # the last is best: two passes of 10 steps, over a quarter more rows
        ([0.5, 0.81, 0.8], 25),  # within a standard error of 40 rows
        ([0.5, 0.95, 0.6], 12),  # worse than chance explains
    ],
)
def test_a_refit_takes_the_last_pass_unless_an_earlier_was_clearly_better(recipe, scores, steps):
    points = [
        {"step": 10 * epoch, "epoch": epoch, "score": score, "loss": 1.0}
        for epoch, score in enumerate(scores)
    ]
    train, valid = [Example("a", {})] * 160, [Example("b", {})] * 40
    again = refitted(recipe(train={"refit": True}), {"epochs": points}, train, valid)
    assert (again.method.kind, again.train.steps) == ("full", steps)


def test_a_refit_fits_the_heads_alone_where_the_start_was_clearly_best(recipe):
    points = [
        {"step": 10 * epoch, "epoch": epoch, "score": 0.9 - 0.3 * epoch, "loss": 1.0} for epoch in (0, 1)
    ]
    rows = [Example("a", {})] * 40
    assert refitted(recipe(), {"epochs": points}, rows, rows).method.kind == "frozen"


def test_a_refit_learns_the_validation_rows_and_keeps_the_first_figures(recipe, rows, tmp_path):
    plain = finetune(recipe(), {"rows": rows}, tmp_path / "plain", home=tmp_path, progress=False)
    again = recipe(train={"refit": True})
    report = finetune(again, {"rows": rows}, tmp_path / "again", home=tmp_path, progress=False)
    assert report.metrics["intent"]["accuracy"] == plain.metrics["intent"]["accuracy"]
    one, other = TextModel.load(tmp_path / "plain"), TextModel.load(tmp_path / "again")
    assert one.fingerprint != other.fingerprint
    assert other.heads["intent"].temperature == pytest.approx(one.heads["intent"].temperature, rel=1e-2)
    few = list(rows.train)[::5]
    frozen = recipe(method={"kind": "frozen"}, train={"refit": True})
    finetune(frozen, {"rows": Rows(few, rows.valid)}, tmp_path / "frozen", home=tmp_path, progress=False)
    kept = TextModel.load(tmp_path / "frozen")
    said = kept.logits([str(row["text"]) for row in rows.valid])["intent"].argmax(1)
    wanted = [kept.heads["intent"].labels.index(str(row["label"])) for row in rows.valid]
    assert said.tolist() == wanted
