"""Every kind of head learns what a few words tell, and says the same when it is served."""

import json

import numpy as np
import pytest
import torch

from shared.errors import BadInput
from shared.finetuning.collate import IGNORED, Collator, masker
from shared.finetuning.evaluate import figures
from shared.finetuning.examples import examples, head_specs
from shared.finetuning.feeding import Feed
from shared.finetuning.recipe import Recipe
from shared.finetuning.rows import Rows
from shared.finetuning.train import finetune
from shared.models.reading import answers, span_probabilities, word_tags
from shared.models.text_model import TextModel
from shared.testing.tiny_models import tiny_bert

NAMES = ("anna", "boris", "carla", "dimitri", "emma", "farid")
PLACES = ("oslo", "lima", "cairo", "quito")
GOOD, BAD = ("loved", "praised"), ("hated", "blamed")


def sentences():
    rows = []
    for i, name in enumerate(NAMES):
        for j, place in enumerate(PLACES):
            for k, verb in enumerate((*GOOD, *BAD)):
                other = NAMES[(i + j + k + 1) % len(NAMES)]
                rows.append((name, verb, other, place))
    return rows


def made(rows):
    return Rows([r for i, r in enumerate(rows) if i % 5], [r for i, r in enumerate(rows) if not i % 5])


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    texts = [f"{a} {v} {b} in {p} . who where did new" for a, v, b, p in sentences()]
    return tiny_bert(tmp_path_factory.mktemp("base") / "base", texts)


def recipe(base, heads, **train):
    tree = {"epochs": 6, "rate": 3e-3, "head_rate": 1e-2, "batch": 8, "precision": "fp32", **train}
    return Recipe.parse({"base": str(base), "data": {"rows": {}}, "heads": heads, "train": tree})


def learnt(base, heads, rows, out, **train):
    made_recipe = recipe(base, heads, **train)
    finetune(made_recipe, {"rows": rows}, out, home=out.parent, progress=False)
    model = TextModel.load(out)
    specs = [model.heads[name] for name in made_recipe.heads if name in model.heads]
    held = examples(made_recipe, specs, {"rows": rows}, "valid")
    return model, figures(model, held, draws=50)


def test_words_are_tagged(base, tmp_path):
    rows = [
        {
            "tokens": [a, v, b, "in", "new", p, "."],
            "tags": ["B-PER", "O", "B-PER", "O", "B-LOC", "I-LOC", "O"],
        }
        for a, v, b, p in sentences()
    ]
    model, found = learnt(base, {"names": {"kind": "tag", "data": "rows"}}, made(rows), tmp_path / "out")
    assert model.heads["names"].labels == ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]
    value, low, high = found["names"]["entity_f1"]
    assert value == low == high == 1.0
    told = json.loads((tmp_path / "out" / "evaluation.json").read_text("utf-8"))["names"]["report"]
    assert set(told) == {"LOC", "PER"}
    assert told["PER"]["f1"] == 1.0
    assert told["PER"]["support"] == 2 * told["LOC"]["support"]
    text = "anna loved boris in new lima ."
    words = [(0, 4), (5, 10), (11, 16), (17, 19), (20, 23), (24, 28), (29, 30), (500, 504)]
    said = model.run([text])
    tags = word_tags(model.heads["names"], said.tokens["names"][0], said.offsets[0], words)
    assert tags == ["B-PER", "O", "B-PER", "O", "B-LOC", "I-LOC", "O", "O"]  # the last one was cut off


def test_each_name_has_its_own_sentiment(base, tmp_path):
    rows = []
    for a, v, b, p in sentences():
        text = f"{a} {v} {b} in {p}"
        at = text.index(b, len(a))
        label = "up" if v in GOOD else "down"
        spans = [
            {"start": 0, "end": len(a), "label": "even"},
            {"start": at, "end": at + len(b), "label": label},
        ]
        rows.append({"text": text, "spans": spans})
    heads = {"tone": {"kind": "entity", "data": "rows"}, "embed": {"kind": "embed"}}
    model, found = learnt(base, heads, made(rows), tmp_path / "out", epochs=10)
    assert found["tone"]["accuracy"][0] > 0.95
    text = "anna hated boris in lima"
    said = span_probabilities(model, "tone", text, [(0, 4), (11, 16)])
    assert [model.heads["tone"].labels[i] for i in said.argmax(1)] == ["even", "down"]
    far = "in " * 80 + text  # the span stands behind the model's 64 tokens
    again = span_probabilities(model, "tone", far, [(240 + 11, 240 + 16)])
    assert again.sum() == pytest.approx(1, abs=1e-4)
    assert model.embed([text]).shape == (1, 32)


def test_numbers_are_predicted_on_their_own_scale(base, tmp_path):
    worth = {word: 100.0 * i for i, word in enumerate((*GOOD, *BAD))}
    rows = [{"text": f"{a} {v} {b} in {p}", "label": worth[v] + 7} for a, v, b, p in sentences()]
    model, found = learnt(base, {"worth": {"kind": "regress", "data": "rows"}}, made(rows), tmp_path / "out")
    assert found["worth"]["r2"][0] > 0.9
    assert model.run(["anna blamed boris in lima"]).values["worth"][0] == pytest.approx(307, abs=60)


def test_two_texts_are_read_together(base, tmp_path):
    rows = [
        {"query": f"{ask} did {a}", "text": f"{a} {v} {b} in {p}", "label": int(ask == "where" and v in GOOD)}
        for a, v, b, p in sentences()
        for ask in ("where", "who")
    ]
    model, found = learnt(base, {"fit": {"kind": "score", "data": "rows"}}, made(rows), tmp_path / "out")
    assert model.paired
    assert found["fit"]["auroc"][0] > 0.9
    asked, told = ["where did anna", "who did anna", "where did anna"], ["anna loved boris in lima"] * 2
    best, *others = model.run(asked, pairs=[*told, "anna hated boris in lima"]).values["fit"]
    assert best > max(others)
    told = json.loads((tmp_path / "out" / "evaluation.json").read_text("utf-8"))["fit"]
    assert told["temperature"] == model.heads["fit"].temperature != 1
    assert sum(one["rows"] for one in told["reliability"]) == told["rows"]


def alike(count=None):
    told = {"good": GOOD, "bad": BAD}
    rows = [
        {"query": f"{a} {v} {b}", "text": f"{b} {w} {a} in {p}", "label": float((v in GOOD) == (w in GOOD))}
        for a, v, b, p in sentences()
        for w in (told["good"][0], told["bad"][1])
    ]
    return made(rows[:count])


SIMILAR = {"alike": {"kind": "similarity", "data": "rows"}, "vector": {"kind": "embed"}}


def test_two_texts_are_compared_by_vectors_that_are_read_apart(base, tmp_path):
    rows = alike()
    model, found = learnt(base, SIMILAR, rows, tmp_path / "out", epochs=8)
    assert not model.paired
    assert model.compares
    assert found["alike"]["auroc"][0] > 0.95
    asked, told = ["anna loved boris"] * 2, ["boris praised anna in lima", "boris blamed anna in lima"]
    near, far = model.run(asked, pairs=told).values["alike"]
    assert near > 0.5 > far
    assert model.run(told, pairs=asked).values["alike"] == pytest.approx([near, far], abs=1e-5)
    head, (one, other) = model.heads["alike"], (model.embed(asked), model.embed(told))
    raw = model.logits(asked, pairs=told)["alike"]
    assert raw[:, 0] == pytest.approx(((one * other).sum(1) - head.centre) / head.spread, abs=1e-4)
    assert "alike" not in model.run(asked).values
    curve = json.loads((tmp_path / "out" / "evaluation.json").read_text("utf-8"))["alike"]
    assert curve["score"] == pytest.approx(found["alike"]["auroc"][0], abs=0.02)  # as while training


def test_a_frozen_base_is_compared_by_a_line_through_its_cosines(base, tmp_path):
    tree = {**recipe(base, SIMILAR).model_dump(), "method": {"kind": "frozen"}}
    finetune(Recipe.parse(tree), {"rows": alike()}, tmp_path / "out", home=tmp_path, progress=False)
    model = TextModel.load(tmp_path / "out")
    pairs = [(row["query"], row["text"]) for row in alike().train]
    said = model.run([a for a, _ in pairs], pairs=[b for _, b in pairs]).values["alike"]
    assert 0.4 < said.mean() < 0.6  # half of the rows belong together
    assert model.heads["alike"].spread > 0


def test_a_similarity_head_shares_its_body_with_others(base, tmp_path):
    labelled = made([{"text": f"{a} {v} {b}", "label": v} for a, v, b, _ in sentences()])
    heads = {**SIMILAR, "verb": {"kind": "classify", "data": "verbs"}}
    tree = {**recipe(base, heads).model_dump(), "data": {"rows": {}, "verbs": {}}}
    data = {"rows": alike(), "verbs": labelled}
    finetune(Recipe.parse(tree), data, tmp_path / "out", home=tmp_path, progress=False)
    told = json.loads((tmp_path / "out" / "evaluation.json").read_text("utf-8"))
    assert told["verb"]["accuracy"] > 0.9
    assert told["alike"]["score"] > 0.8


def test_a_similarity_head_needs_vectors(base):
    with pytest.raises(BadInput, match='add a head of kind "embed"'):
        recipe(base, {"alike": SIMILAR["alike"]})


def test_answers_are_found_in_a_passage_longer_than_the_model(base, tmp_path):
    rows = [
        {"question": f"where did {a}", "context": f"{a} {v} {b} in {p} .", "answer": p}
        for a, v, b, p in sentences()
    ]
    model, found = learnt(base, {"answer": {"kind": "span", "data": "rows"}}, made(rows), tmp_path / "out")
    assert found["answer"]["exact"][0] > 0.95
    long = "emma loved farid . " * 30 + "anna loved boris in lima . " + "farid hated emma . " * 30
    (said,) = answers(model, ["where did anna"], [long], no_answer=False)
    assert long[said.start : said.end] == "lima"


def test_hidden_words_are_learnt_and_the_body_serves_as_a_base(base, tmp_path):
    rows = made([{"text": f"{a} {v} {b} in {p} ."} for a, v, b, p in sentences()])
    made_recipe = recipe(base, {"words": {"kind": "mlm", "data": "rows"}}, epochs=4)
    report = finetune(made_recipe, {"rows": rows}, tmp_path / "mlm", home=tmp_path, progress=False)
    curve = report.curves["epochs"]
    assert curve[-1]["loss"] < 0.8 * curve[0]["loss"]
    assert TextModel.load(tmp_path / "mlm").embed(["anna loved boris"]).shape == (1, 32)
    labelled = made([{"text": f"{a} {v} {b}", "label": v} for a, v, b, _ in sentences()])
    both = {"verb": {"kind": "classify", "data": "rows"}, "words": {"kind": "mlm", "data": "rows"}}
    model, found = learnt(tmp_path / "mlm", both, labelled, tmp_path / "next", epochs=3)
    assert set(model.heads) == {"verb"}
    assert found["verb"]["accuracy"][0] == 1.0


def test_shorter_vectors_rank_too(base, tmp_path):
    rows = [
        {"anchor": f"where did {a} {v}", "positive": f"{a} {v} {b} in {p}", "label": f"{a} {v}"}
        for a, v, b, p in sentences()
    ]
    heads = {"embed": {"kind": "embed", "data": "rows", "sizes": [8]}}
    model, found = learnt(base, heads, made(rows), tmp_path / "out", epochs=8)
    assert model.heads["embed"].sizes == [8]
    assert found["embed"]["recall@1"][0] > 0.6
    texts = [row["anchor"] for row in rows[:24]] + [row["positive"] for row in rows[:24]]
    vectors = model.embed(texts)[:, :8]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    best = (vectors[:24] @ vectors[24:].T).argmax(1)
    hits = [rows[i]["label"] == rows[j]["label"] for i, j in enumerate(best)]
    assert np.mean(hits) > 0.5


def test_a_word_of_several_pieces_is_told_by_its_first(base):
    from transformers import BertTokenizer

    pieces = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "anna", "##na", "loved")
    feed = Feed(BertTokenizer(vocab={piece: i for i, piece in enumerate(pieces)}), 12)
    heads = {"names": {"kind": "tag", "data": "rows"}}
    rows = Rows([{"tokens": ["annana", "loved"] * 6, "tags": ["I-PER", "O"] * 6}])
    made_recipe = recipe(base, heads)
    specs = head_specs(made_recipe, {"rows": rows})
    batch = Collator(specs, feed)(examples(made_recipe, specs, {"rows": rows}, "train"))
    labels = batch["targets"]["names"]["labels"][0].tolist()
    begins = specs[0].labels.index("B-PER")  # I- after nothing begins an entity
    assert labels == [IGNORED, begins, IGNORED, 0] + [begins, IGNORED, 0] * 2 + [begins, IGNORED]


def test_a_text_with_other_heads_keeps_its_words(base):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base)
    feed = Feed(tokenizer, 32)
    heads = {"verb": {"kind": "classify", "data": "rows"}, "words": {"kind": "mlm", "data": "rows"}}
    rows = Rows(
        [{"text": "anna loved boris in lima", "label": "x"}, {"text": "emma hated farid", "label": "y"}]
    )
    made_recipe = recipe(base, heads)
    specs = head_specs(made_recipe, {"rows": rows})
    batch = Collator(specs, feed, masker(tokenizer, 1))(examples(made_recipe, specs, {"rows": rows}, "train"))
    assert len(batch["input_ids"]) == 4
    assert tokenizer.mask_token_id not in batch["input_ids"][:2]
    target = batch["targets"]["words"]
    assert target["rows"].tolist() == [2, 3]
    hidden = batch["input_ids"][2:] == tokenizer.mask_token_id
    assert torch.equal(hidden, target["labels"] != IGNORED)
    assert len(batch["labels"]) == 2


@pytest.mark.parametrize(
    ("head", "row", "message"),
    [
        ({"kind": "tag"}, {"tokens": ["a"], "tags": ["PER"]}, "is no BIO tag; allowed are"),
        ({"kind": "tag"}, {"tokens": ["a", "b"], "tags": ["B-PER"]}, r"2 tokens and 1 tags"),
        (
            {"kind": "entity", "labels": ["x", "y"]},
            {"text": "ab", "spans": [{"start": 1, "end": 9, "label": "x"}]},
            "1 to 9; its text has 2 characters",
        ),
        ({"kind": "regress"}, {"text": "a", "label": "much"}, "'much'.*is no number"),
        ({"kind": "score"}, {"query": "a", "text": "b", "label": 3}, "score 3.*not between 0 and 1"),
        (
            {"kind": "span"},
            {"question": "q", "context": "some text", "answer": "word", "start": 2},
            "does not stand at character 2",
        ),
    ],
)
def test_a_target_that_can_not_be_is_refused(base, head, row, message):
    made_recipe = recipe(base, {"h": {**head, "data": "rows"}})
    data = {"rows": Rows([row])}
    with pytest.raises(BadInput, match=message):
        examples(made_recipe, head_specs(made_recipe, data), data, "train")


def test_heads_that_read_two_texts_stand_alone():
    heads = {"a": {"kind": "score", "data": "d"}, "b": {"kind": "classify", "data": "d"}}
    with pytest.raises(BadInput, match="a recipe of their own"):
        Recipe.parse({"heads": heads})


def test_the_card_of_an_older_model_is_still_read(base, tmp_path):
    from shared.models.card import ModelCard

    old = {"name": "h", "kind": "classify", "labels": ["a", "b"], "temperature": 1.5, "thresholds": None}
    card = {"format": 1, "base": "b", "fingerprint": "f", "dim": 4, "max_tokens": 8, "pooling": "mean"}
    (tmp_path / "model.json").write_text(json.dumps({**card, "heads": [old]}), "utf-8")
    assert ModelCard.read(tmp_path).heads[0].centre == 0.0
