"""A generator tuned, stored, read again and served; every step on tiny models."""

import json
import shutil
import threading

import pytest
import torch
from safetensors.torch import load_file

from shared.errors import BadInput, Damaged, NotFound, TooLarge
from shared.finetuning.generate import export_generator, finetune_generator
from shared.finetuning.generating import loop
from shared.finetuning.generating.writing import cut, settled
from shared.finetuning.generator import Generator
from shared.finetuning.loop import Diverged
from shared.models.prompting import messages
from shared.testing.tiny_generators import tiny_llama, tiny_replies, tiny_t5
from shared.testing.training import apart

ROWS = tiny_replies()
TRAIN, VALID = [r for n, r in enumerate(ROWS) if n % 5], ROWS[::5]
FIELDS = {"batch": 4, "accumulate": 1, "precision": "fp32", "max_tokens": 128, "max_reply_tokens": 48}
ASKED = "Where is my card? please"


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    root, texts = tmp_path_factory.mktemp("bases"), [f"{r['question']} {r['reply']}" for r in ROWS]
    return {
        "chat": tiny_llama(root / "chat", texts),
        "plain": tiny_llama(root / "plain", texts, chat=False),
        "t5": tiny_t5(root / "t5", texts),
    }


@pytest.fixture(scope="module")
def tuned(places, tmp_path_factory):
    out = tmp_path_factory.mktemp("tuned") / "out"
    fields = {**FIELDS, "base": str(places["chat"]), "method": "full", "rate": 5e-3, "epochs": 24}
    report = finetune_generator(fields, TRAIN, VALID, out, home=out.parent, progress=False)
    return out, report


@pytest.fixture(scope="module")
def writer(tuned):
    return Generator.load(tuned[0])


def test_tuning_teaches_the_replies(tuned, writer):
    out, report = tuned
    epochs = report.curves["epochs"]
    assert epochs[0]["step"] == 0
    assert len(epochs) == 25
    assert report.metrics["perplexity"] < epochs[0]["perplexity"] / 20
    assert report.metrics["perplexity"] == pytest.approx(min(e["perplexity"] for e in epochs), rel=1e-3)
    assert report.metrics["rouge_l"] > 0.5
    said = writer.reply(ASKED)
    assert (said.text, said.finish_reason) == (ROWS[0]["reply"], "stop")
    assert {file.name for file in out.iterdir()} >= {
        "model.safetensors", "tokenizer.json", "generator.json", "selftest.json", "recipe.json",
        "curves.json", "evaluation.json", "chat_template.jinja",
    }  # fmt: skip
    evaluation = json.loads((out / "evaluation.json").read_text("utf-8"))
    assert evaluation["before"]["perplexity"] == epochs[0]["perplexity"]
    assert not list((out.parent / "work").glob("*/*"))


def test_pieces_are_the_whole(writer):
    for options in ({}, {"temperature": 1.5, "seed": 4}, {"stop": ["way"]}, {"max_new_tokens": 5}):
        pieces = []
        whole = writer.reply(ASKED, **options, stream=pieces.append)
        assert "".join(pieces) == whole.text
        assert writer.reply(ASKED, **options) == whole


def test_half_the_bytes_write_the_same(tuned, writer):
    halved = Generator.load(tuned[0], precision="bf16")
    assert next(halved.model.parameters()).dtype == torch.bfloat16
    assert halved.reply(ASKED) == writer.reply(ASKED)


def test_chinese_letters_come_whole(writer):
    pieces = []
    whole = writer.reply("我的卡在哪里？ please", stream=pieces.append)
    assert "".join(pieces) == whole.text == "您的卡正在路上，五天内到。"
    assert not any("\ufffd" in piece for piece in pieces)


def test_a_reply_ends_before_a_stop_string(writer):
    said = writer.reply(ASKED, stop=["on its", "way"])
    assert (said.text, said.finish_reason) == ("Your card is", "stop")


def test_a_reply_that_is_cut_says_so(writer):
    said = writer.reply(ASKED, max_new_tokens=3)
    assert (said.finish_reason, said.usage.reply_tokens) == ("length", 3)
    assert said.usage.prompt_tokens == len(writer.encoding.prompt(ASKED))


def test_chance_follows_from_its_seed(writer):
    drawn = [writer.reply(ASKED, temperature=2.0, seed=seed).text for seed in (1, 1, 2, 3)]
    assert drawn[0] == drawn[1]
    assert len(set(drawn)) > 1
    found = {}
    ask = lambda seed: found.update({seed: writer.reply(ASKED, temperature=2.0, seed=seed).text})  # noqa: E731
    threads = [threading.Thread(target=ask, args=(seed,)) for seed in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[1], found[2], found[3]] == [drawn[0], drawn[2], drawn[3]]


def test_chance_draws_from_the_softmax(writer):
    from shared.finetuning.generating.writing import Chance

    chance = Chance(0.5, seed=0)
    logits = torch.tensor([[0.0, 1.0, -1.0]])
    draws = torch.stack([chance(None, logits).argmax(-1)[0] for _ in range(4000)])
    shares = torch.bincount(draws, minlength=3) / 4000
    assert torch.allclose(shares, (logits[0] / 0.5).softmax(-1), atol=0.03)


def test_many_are_written_as_one(writer):
    asked = [(row["question"], [row["context"]] if row["context"] else []) for row in ROWS[:20:3]]
    assert writer.replies(asked, batch=3) == [writer.reply(*one).text for one in asked]


def test_what_does_not_fit_is_refused(writer):
    with pytest.raises(TooLarge, match="this model reads 256"):
        writer.generate(messages("why " * 400))
    with pytest.raises(BadInput, match="temperature is -1"):
        writer.generate("x", temperature=-1)


def test_the_callers_error_ends_the_writing(writer):
    def gone(piece):
        raise ConnectionError("gone")

    with pytest.raises(ConnectionError):
        writer.reply(ASKED, stream=gone)


@pytest.mark.parametrize(
    ("text", "stops", "shown"),
    [
        ("One. Two", [], "One. Two"),
        ("One. ", [], "One."),
        ("One.\nQues", ["\nQuestion:"], "One."),
        ("One.\n", ["\nQuestion:"], "One."),
        ("One\ufffd", [], "One"),
        ("abab", ["abac", "b!"], "ab"),
    ],
)
def test_what_may_be_taken_back_is_not_shown(text, stops, shown):
    assert settled(text, stops) == shown


def test_the_first_stop_counts():
    assert cut("a b c", ["c", "b"]) == ("a ", True)
    assert cut("a b c", ["d", ""]) == ("a b c", False)


def test_a_changed_folder_is_damaged(tuned, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(tuned[0], copy)
    raw = bytearray((copy / "model.safetensors").read_bytes())
    raw[-3] ^= 64
    (copy / "model.safetensors").write_bytes(raw)
    with pytest.raises(Damaged, match="not those that its card names"):
        Generator.load(copy)
    shutil.copy(tuned[0] / "model.safetensors", copy)
    rows = json.loads((copy / "selftest.json").read_text("utf-8"))
    rows[1]["logits"][0] += 0.5
    (copy / "selftest.json").write_text(json.dumps(rows), "utf-8")
    with pytest.raises(Damaged, match=r"off by .* in the self-test"):
        Generator.load(copy)
    with pytest.raises(NotFound, match=r"no generator\.json"):
        Generator.load(tmp_path)


@pytest.mark.parametrize("name", ["plain", "t5"])
def test_lora_is_merged_or_kept(places, tmp_path, name):
    fields = {**FIELDS, "base": str(places[name]), "rate": 1e-2, "epochs": 3}
    reports = {}
    for merge in (True, False):
        out = tmp_path / f"merge-{merge}"
        reports[merge] = finetune_generator(
            {**fields, "merge": merge}, TRAIN, VALID, out, home=tmp_path, progress=False
        )
    merged, kept = Generator.load(tmp_path / "merge-True"), Generator.load(tmp_path / "merge-False")
    assert not (tmp_path / "merge-False" / "model.safetensors").exists()
    assert kept.card.adapter
    assert str(places[name]) in (tmp_path / "merge-False" / "adapter_config.json").read_text("utf-8")
    for text in ("Question: Where?\nAnswer:", "x"):
        assert torch.allclose(merged.foretold(text), kept.foretold(text), atol=1e-4)
    assert reports[True].metrics == pytest.approx(reports[False].metrics, rel=1e-4)
    assert reports[True].metrics["perplexity"] < reports[True].curves["epochs"][0]["perplexity"]


def test_a_kept_adapter_wants_its_base(places, tmp_path):
    base = tmp_path / "base"
    shutil.copytree(places["plain"], base)
    fields = {**FIELDS, "base": str(base), "merge": False, "epochs": 1}
    finetune_generator(fields, TRAIN, [], tmp_path / "out", home=tmp_path, progress=False)
    tiny_llama(base, ["other"], chat=False, seed=5)
    with pytest.raises(Damaged, match="tuned on other weights"):
        Generator.load(tmp_path / "out")
    base.rename(tmp_path / "elsewhere")
    with pytest.raises(NotFound, match="holds an adapter alone"):
        Generator.load(tmp_path / "out")


def test_minutes_become_steps_that_repeat_the_model(places, tmp_path):
    fields = {**FIELDS, "base": str(places["plain"]), "rate": 5e-3, "epochs": 40, "batch": 2}
    first = finetune_generator(
        {**fields, "minutes": 0.03}, TRAIN, VALID, tmp_path / "one", home=tmp_path, progress=False
    )
    assert first.recipe.minutes is None
    assert 20 <= first.recipe.steps < 40 * 8
    again = finetune_generator(first.recipe, TRAIN, VALID, tmp_path / "two", home=tmp_path, progress=False)
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    assert apart(one, two) < 1e-3
    assert again.recipe_hash == first.recipe_hash


def test_a_killed_run_goes_on(places, tmp_path, monkeypatch):
    fields = {**FIELDS, "base": str(places["t5"]), "rate": 5e-3, "epochs": 4}
    whole = finetune_generator(fields, TRAIN, VALID, tmp_path / "whole", home=tmp_path, progress=False)

    class Killed(Exception):
        pass

    step = loop.ReplyTrainer.training_step
    seen = []

    def once(self, *args, **options):
        seen.append(self.state.global_step)
        if len(seen) == 11:
            raise Killed
        return step(self, *args, **options)

    monkeypatch.setattr(loop.ReplyTrainer, "training_step", once)
    with pytest.raises(Killed):
        finetune_generator(fields, TRAIN, VALID, tmp_path / "part", home=tmp_path, progress=False)
    again = finetune_generator(fields, TRAIN, VALID, tmp_path / "part", home=tmp_path, progress=False)
    assert seen[11] == 8  # the checkpoint of the second epoch
    for point, other in zip(again.curves["epochs"], whole.curves["epochs"], strict=True):
        assert point == pytest.approx(other, rel=1e-4)
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "part"))
    assert apart(one, two) < 1e-3


def test_a_loss_that_is_no_number_stops(places, tmp_path):
    fields = {**FIELDS, "base": str(places["plain"]), "rate": 1e30, "clip": 0.0, "method": "full"}
    with pytest.raises(Diverged, match=r"the loss became nan at step .*; lower rate"):
        finetune_generator({**fields, "epochs": 9}, TRAIN, [], tmp_path / "o", home=tmp_path, progress=False)


def test_no_rows_are_refused(places, tmp_path):
    with pytest.raises(BadInput, match="no training row"):
        finetune_generator({"base": str(places["chat"])}, [], [], tmp_path / "o", home=tmp_path)


def test_a_base_is_served_as_it_is(places, tmp_path):
    export_generator(str(places["t5"]), tmp_path / "t5", home=tmp_path, max_tokens=128, max_reply_tokens=8)
    said = Generator.load(tmp_path / "t5").reply("Where?")
    assert said.usage.reply_tokens <= 8
    assert said.usage.prompt_tokens > 3
