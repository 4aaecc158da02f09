import pytest
import torch

from shared.errors import BadInput
from shared.finetuning.collate import Collator
from shared.finetuning.examples import examples, head_specs, labels_of
from shared.finetuning.feeding import Fed
from shared.finetuning.recipe import Recipe
from shared.finetuning.rows import Rows, data_hash

HEADS = {
    "tone": {"kind": "classify", "data": "d", "label": "tone"},
    "topics": {"kind": "multilabel", "data": "d", "label": "topics"},
}


def built(rows, valid=(), heads=HEADS, **more):
    recipe = Recipe.parse({"heads": heads, "data": {"d": {}}, **more})
    data = {"d": Rows(rows, valid)}
    specs = head_specs(recipe, data)
    return recipe, specs, data


ROWS = [
    {"text": "a", "tone": "up", "topics": "x|y"},
    {"text": "b", "tone": "down", "topics": ["y"]},
    {"text": "c", "tone": "up"},
    {"text": "d", "topics": ""},
    {"text": " ", "tone": "up"},
]


def test_a_row_needs_not_all_heads():
    recipe, specs, data = built(ROWS)
    assert [(s.name, s.labels) for s in specs] == [("tone", ["down", "up"]), ("topics", ["x", "y"])]
    found = [(e.text, e.targets) for e in examples(recipe, specs, data, "train")]
    assert found == [
        ("a", {"tone": 1, "topics": [1.0, 1.0]}),
        ("b", {"tone": 0, "topics": [0.0, 1.0]}),
        ("c", {"tone": 1}),
        ("d", {"topics": [0.0, 0.0]}),
    ]


def test_labels_are_renamed_or_refused_with_their_line():
    heads = {"tone": {**HEADS["tone"], "labels": ["up", "down"]}}
    rows = [{"text": "a", "tone": "bull", "_line": 7}, {"text": "b", "tone": "down", "_line": 8}]
    recipe, specs, data = built(rows, heads=heads, labels={"bull": "up"})
    assert [e.targets["tone"] for e in examples(recipe, specs, data, "train")] == [0, 1]
    recipe, specs, data = built(rows, heads=heads)
    with pytest.raises(BadInput, match=r"label .bull. \(line 7\) is not one of up, down; map it in"):
        examples(recipe, specs, data, "train")


def test_a_label_that_only_validation_has_is_left_out_there():
    recipe, specs, data = built(ROWS, [{"text": "v", "tone": "sideways"}, {"text": "w", "tone": "up"}])
    assert [e.text for e in examples(recipe, specs, data, "valid")] == ["w"]


def test_what_can_not_be_learnt_is_said():
    with pytest.raises(BadInput, match="finds 1 labels in column 'tone'"):
        built([{"text": "a", "tone": "up"}], heads={"tone": HEADS["tone"]})
    recipe = Recipe.parse({"heads": HEADS})
    with pytest.raises(BadInput, match="reads data 'd'; given are none"):
        head_specs(recipe, {})


def test_equal_positives_are_no_negatives():
    heads = {"embed": {"kind": "embed", "data": "d"}}
    rows = [
        {"anchor": "q1", "positive": "p", "negative": "n"},
        {"anchor": "q2", "positive": "p"},
        {"anchor": "q3", "positive": "r"},
    ]
    recipe, specs, data = built(rows, heads=heads)
    texts = []

    def feed(given, pairs, **_):
        texts.extend(given)
        return Fed({"input_ids": torch.zeros(len(given), 1)})

    batch = Collator(specs, feed)(examples(recipe, specs, data, "train"))
    target = batch["targets"]["embed"]
    assert [texts[i] for i in target["anchors"]] == ["q1", "q2", "q3"]
    assert [texts[i] for i in target["candidates"]] == ["p", "p", "r", "n"]
    assert target["anchor_groups"].tolist() == [0, 0, 1]
    assert batch["labels"].tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("cell", "labels"), [(None, []), ("", []), ("a| b |", ["a", "b"]), (["a", " "], ["a"])]
)
def test_cells_of_several_labels(cell, labels):
    assert labels_of(cell) == labels


def test_the_data_hash_knows_rows_order_and_side():
    rows = Rows([{"text": "a", "_line": 1}, {"text": "b"}])
    assert data_hash({"d": rows}) == data_hash({"d": Rows([{"text": "a", "_line": 9}, {"text": "b"}])})
    others = [Rows([{"text": "b"}, {"text": "a"}]), Rows([{"text": "a"}], [{"text": "b"}])]
    assert len({data_hash({"d": one}) for one in (rows, *others)}) == 3
