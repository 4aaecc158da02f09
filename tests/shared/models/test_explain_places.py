"""Explanations of one place: a tag, a span's label, an answer; the words that decide are known."""

import json

import numpy as np
import pytest

from pipelines.commands.explain import command
from shared.errors import BadInput, NotFound
from shared.finetuning.recipe import Recipe
from shared.finetuning.rows import Rows
from shared.finetuning.train import finetune
from shared.models.explain_places import _masked, occlusion_at, placed_head
from shared.models.reading import span_probabilities
from shared.models.text_model import TextModel
from shared.testing.tiny_models import tiny_bert
from shared.text.words import words

NAMES, PLACES = ("anna", "boris", "carla", "emma"), ("oslo", "lima", "cairo", "quito")
VERBS = {"loved": "good", "praised": "good", "hated": "bad", "blamed": "bad"}
TEXT = "anna hated boris in lima"


def sentences():
    return [
        (name, verb, NAMES[(i + j + 1) % 4], place)
        for i, name in enumerate(NAMES)
        for j, verb in enumerate(VERBS)
        for place in PLACES
    ]


def trained(home, heads, rows):
    base = tiny_bert(home / "base", [f"{a} {v} {b} in {p} . where did" for a, v, b, p in sentences()])
    train = {"epochs": 6, "rate": 3e-3, "head_rate": 1e-2, "batch": 8, "precision": "fp32"}
    recipe = Recipe.parse({"base": str(base), "heads": heads, "train": train})
    finetune(recipe, {"d": Rows(rows, rows[::5])}, home / "model", home=home, progress=False)
    return home / "model"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    rows = []
    for a, v, b, p in sentences():
        text = f"{a} {v} {b} in {p}"
        tags = ["B-PER", "O", "B-PER", "O", "B-LOC"]
        start = text.index(b, len(a))
        spans = [{"start": start, "end": start + len(b), "label": VERBS[v]}]
        rows.append({"text": text, "tokens": text.split(), "tags": tags, "spans": spans})
    heads = {"names": {"kind": "tag", "data": "d"}, "mood": {"kind": "entity", "data": "d"}}
    return trained(tmp_path_factory.mktemp("places"), heads, rows)


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    rows = [
        {"question": f"where did {a}", "context": f"{a} {v} {b} in {p}", "answer": p}
        for a, v, b, p in sentences()
    ]
    return trained(tmp_path_factory.mktemp("asked"), {"answer": {"kind": "span", "data": "d"}}, rows)


def heaviest(told):
    return max(told.tokens, key=lambda token: token.weight).text


def test_a_tag_speaks_for_itself_or_for_the_words_around_it(folder):
    model = TextModel.load(folder)
    found = occlusion_at(model, TEXT)
    assert (found.told.label, TEXT[found.start : found.end]) == ("PER", "anna")
    assert heaviest(found.told) == "anna"
    assert [token.text for token in found.told.tokens] == TEXT.split()
    at = (TEXT.index("lima"), len(TEXT))
    assert occlusion_at(model, TEXT, "names", place=at).told.label == "LOC"
    assert occlusion_at(model, TEXT, "names", place=(5, 10)).told.label == "O"
    against = occlusion_at(model, TEXT, "names", place=at, label="PER")
    assert against.told.label == "PER"


def test_a_weight_is_what_the_label_of_a_span_loses_without_the_word(folder):
    model = TextModel.load(folder)
    at = (TEXT.index("boris"), TEXT.index("boris") + 5)
    found = occlusion_at(model, TEXT, "mood", place=at)
    assert found.told.label == "bad"
    weights = {token.text: token.weight for token in found.told.tokens}
    assert weights["hated"] > max(weights["anna"], weights["lima"])
    bad = model.heads["mood"].labels.index("bad")
    whole, without = (
        span_probabilities(model, "mood", text, [(text.index("boris"), text.index("boris") + 5)])[0][bad]
        for text in (TEXT, TEXT.replace("hated", "[MASK]"))
    )
    lost = np.log(whole / (1 - whole)) - np.log(without / (1 - without))
    assert weights["hated"] == pytest.approx(lost, abs=1e-3)
    other = occlusion_at(model, TEXT, "mood", place=at, label="good").told
    assert other.tokens[1].weight == pytest.approx(-lost, abs=1e-3)  # there are two labels


def test_an_answer_needs_its_own_word(asked):
    model = TextModel.load(asked)
    found = occlusion_at(model, TEXT, other="where did anna")
    assert found.told.label == TEXT[found.start : found.end] == "lima"
    assert heaviest(found.told) in ("lima", "in")
    chosen = occlusion_at(model, TEXT, place=(0, 4), other="where did anna")
    assert chosen.told.label == "anna"
    long = "emma loved carla . " * 20 + TEXT + " . emma loved carla" * 20
    assert occlusion_at(model, long, other="where did anna").told.label in PLACES


@pytest.mark.parametrize(
    ("words_masked", "place", "wanted"),
    [
        ((0, 1), (3, 5), ("X bb cc", "bb")),
        ((1, 2), (3, 5), ("aa X cc", "X")),
        ((1, 3), (6, 8), ("aa X X", "X")),
        ((0, 2), (6, 8), ("X X cc", "cc")),
        ((1, 2), (0, 8), ("aa X cc", "aa X cc")),
        ((0, 3), (3, 8), ("X X X", "X X")),
    ],
)
def test_a_place_moves_with_its_text(words_masked, place, wanted):
    text = "aa bb cc"
    masked, (start, end) = _masked(text, words(text)[slice(*words_masked)], "X", place)
    assert (masked, masked[start:end]) == wanted


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"head": "mood"}, BadInput, "say which with --at"),
        ({"head": "names", "place": (3, 99)}, BadInput, "is not in the text of 24 characters"),
        ({"head": "names", "place": (4, 5)}, BadInput, "holds no word"),
        ({"head": "names", "label": "FOOD"}, NotFound, "has no kind 'FOOD'; it has O, LOC, PER"),
        ({"head": "mood", "place": (0, 4), "label": "meh"}, NotFound, "has no label 'meh'; it has bad, good"),
        ({"head": "names", "other": "x"}, BadInput, "reads no second text"),
        ({"head": "none"}, NotFound, "it has names, mood"),
    ],
)
def test_what_can_not_be_explained_is_said(folder, options, error, message):
    with pytest.raises(error, match=message):
        occlusion_at(TextModel.load(folder), TEXT, options.pop("head"), **options)


def test_a_span_head_needs_a_question_and_has_no_labels(asked):
    model = TextModel.load(asked)
    with pytest.raises(BadInput, match="needs a question"):
        occlusion_at(model, TEXT)
    with pytest.raises(BadInput, match="has no labels"):
        occlusion_at(model, TEXT, other="where", label="x")
    with pytest.raises(BadInput, match="no answer to explain"):
        occlusion_at(model, "", other="where did anna")


def test_the_head_is_chosen_by_what_was_learnt(folder):
    model = TextModel.load(folder)
    assert placed_head(model, None).name == "names"
    assert placed_head(model, "mood").name == "mood"


@pytest.mark.parametrize("at", ["boris", "11:16"])
def test_the_command_takes_words_or_numbers(folder, capsys, tmp_path, monkeypatch, at):
    monkeypatch.setenv("TRILLIUM_HOME", str(tmp_path))
    command(str(folder), TEXT, head="mood", at=at, method="occlusion", neighbours=0, json=True)
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["at"] == {"start": 11, "end": 16, "text": "boris"}
    assert told["label"] == "bad"
    command(str(folder), TEXT, head="mood", at=at, method="occlusion", neighbours=0)
    assert "label: bad  (of 'boris')" in capsys.readouterr().out
    with pytest.raises(BadInput, match="neither START:END nor words of the text"):
        command(str(folder), TEXT, head="mood", at="zoe", method="occlusion", neighbours=0)
    with pytest.raises(BadInput, match="use --method occlusion"):
        command(str(folder), TEXT, head="mood", at=at, method="gradients", neighbours=0)
