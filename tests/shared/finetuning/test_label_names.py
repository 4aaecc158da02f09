import pytest

from shared.errors import BadInput
from shared.finetuning.examples import head_specs
from shared.finetuning.label_names import named_examples, telling, words
from shared.finetuning.recipe import Recipe
from shared.finetuning.rows import Rows
from shared.finetuning.train import finetune
from shared.models.text_model import TextModel


@pytest.mark.parametrize(
    ("label", "text"),
    [
        ("card_arrival", "card arrival"),
        ("cardArrival", "card Arrival"),
        ("Refund-not-showing", "Refund not showing"),
        ("ATM", "ATM"),
        ("农业", "农业"),
        ("__", ""),
    ],
)
def test_a_label_becomes_words(label, text):
    assert words(label) == text


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        (["card_arrival", "top_up_failed"], True),
        (["positive", "negative"], True),
        (["农业", "军事"], True),
        (["0", "1"], False),
        (["label_1", "label_2"], False),
        (["class a", "class b"], False),
        (["card_arrival", "17"], False),
        ([], False),
    ],
)
def test_labels_that_say_something_are_told_from_codes(labels, told):
    assert telling(labels) is told


def asked(base, **head):
    return Recipe.parse(
        {
            "base": str(base),
            "data": {"rows": {}},
            "heads": {"intent": {"kind": "classify", "data": "rows", **head}},
            "method": {"kind": "frozen"},
        }
    )


def test_names_are_one_more_text_a_label(tiny, rows):
    specs = head_specs(asked(tiny), {"rows": rows})
    found = named_examples(asked(tiny, names=True), specs)
    assert [one.text for one in found] == [words(label) for label in specs[0].labels]
    assert [one.targets for one in found] == [{"intent": i} for i in range(len(specs[0].labels))]
    assert named_examples(asked(tiny), specs) == []


def test_a_label_without_rows_is_known_by_its_name(tiny, rows, tmp_path):
    labels = [*sorted({row["label"] for row in rows.train}), "parcel_delayed"]
    finetune(
        asked(tiny, names=True, labels=labels),
        {"rows": Rows(rows.train, [])},
        tmp_path / "out",
        home=tmp_path,
        progress=False,
    )
    model = TextModel.load(tmp_path / "out")
    (answer,) = model.run(["parcel delayed"]).probabilities["intent"]
    assert labels[answer.argmax()] == "parcel_delayed"


def test_only_classify_heads_learn_names(tiny):
    head = {"kind": "regress", "data": "rows", "names": True}
    with pytest.raises(BadInput, match="names belongs to classify heads, not to regress"):
        Recipe.parse({"base": str(tiny), "data": {"rows": {}}, "heads": {"n": head}})
