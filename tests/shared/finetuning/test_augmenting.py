"""Changed copies: how each kind is made, what a copy must keep, and that a training learns from them."""

import numpy as np
import pytest

from shared.errors import BadInput, NotFound
from shared.finetuning.augmenting.build import augmented
from shared.finetuning.augmenting.check import keeps_label, near
from shared.finetuning.augmenting.mined import Substitutions
from shared.finetuning.augmenting.template import Slot, Templates, slots
from shared.finetuning.augmenting.translate import there_and_back
from shared.finetuning.augmenting.words import changed
from shared.finetuning.beside import Augment
from shared.finetuning.examples import Example
from shared.finetuning.recipe import Recipe
from shared.finetuning.train import finetune
from shared.models.heads import HeadSpec
from shared.testing.tiny_generators import tiny_llama, tiny_t5

INTENT = HeadSpec(name="intent", kind="classify", labels=["in", "out"])


def of_words(texts):
    """Unit vectors of the words of texts: those that share words are near."""
    words = sorted({word for text in ("lost card", "send money", *texts) for word in text.lower().split()})
    rows = np.asarray([[text.lower().split().count(word) for word in words] for text in texts], np.float32)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)


def fixed(known):
    """The same, over a vocabulary that does not change from call to call."""
    places = {word: i for i, word in enumerate(sorted({w for t in known for w in t.lower().split()}))}

    def encode(texts):
        rows = np.zeros((len(texts), len(places) + 1), np.float32)
        for row, text in zip(rows, texts, strict=True):
            for word in text.lower().split():
                row[places.get(word, len(places))] += 1
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    return encode


def test_words_change_in_one_way_and_the_same_way_again():
    text = "Where is my card, please? It did not come."
    copies = {changed(text, 0.2, str(seed)) for seed in range(40)}
    assert changed(text, 0.2, "7") == changed(text, 0.2, "7")
    assert None not in copies
    assert text not in copies
    assert any(sorted(copy.split()) != sorted(text.split()) for copy in copies)
    assert any(len(copy.split()) < len(text.split()) for copy in copies)  # words were left out
    assert any("card" not in copy and len(copy.split()) == len(text.split()) for copy in copies)  # misspelt
    assert all(abs(len(copy) - len(text)) <= 12 for copy in copies)  # two of ten words
    assert changed("no", 0.2, "1") is None
    assert changed("", 0.2, "1") is None


def test_numbers_and_names_come_from_rows_of_the_same_label():
    text = "Send 250.50 to Anna Berg before 3/12. Then ask Paul, he knows"
    assert [(s.kind, text[s.start : s.end]) for s in slots(text)] == [
        ("number", "250.50"),
        ("name", "Anna Berg"),
        ("number", "3/12"),
        ("name", "Paul"),
    ]
    assert slots("SEND 5 TO ANNA") == [Slot("number", 5, 6)]
    texts = ["pay 5 to Oslo and 5 to Rome", "pay 70 now", "the plan costs 900"]
    made = Templates(texts, ["a", "a", "b"])
    copy = made.copy(texts[0], "a", "1")
    assert copy == made.copy(texts[0], "a", "1")
    assert copy.count("70") == 2  # the same value is changed alike
    assert "900" not in copy
    assert {word for word in copy.split() if word.istitle()} == {"Oslo", "Rome"}
    assert made.copy(texts[2], "b", "1") is None  # no other value is known there


def test_words_that_stood_in_each_others_place_are_mined():
    texts = ["my card is lost", "my card is gone", "my phone is lost", "send the money now"]
    groups = ["in", "in", "out", "out"]
    made = Substitutions(texts, groups, of_words(texts))
    assert made.copy("My card was Lost today", "in", "1") == "My card was Gone today"
    assert made.copy("my card is lost", "out", "1") is None  # of its own label's rows alone
    assert made.copy("nothing known", "in", "1") is None
    long = Substitutions(["a b c d x", "a b c d y z"], ["in", "in"], np.eye(2, dtype=np.float32))
    assert long.copy("x", "in", "1") == "y z"
    assert long.copy("see y z there", "in", "2") == "see x there"


def test_a_copy_must_be_near_and_keep_the_label_for_a_model_that_never_saw_its_row():
    texts = ["lost card", "card lost now", "lost my card", "send money", "money send now", "send my money"]
    labels = np.asarray([0, 0, 0, 1, 1, 1])
    encode = fixed(texts)
    copies = encode(["my lost card", "send money", "my money"])
    origin = np.asarray([0, 0, 3])
    assert keeps_label(encode(texts), labels, texts, copies, origin).tolist() == [True, False, True]
    assert near(encode(texts), copies, origin, 0.75).tolist() == [True, False, False]
    # A label that no other row has is never given.
    alone = keeps_label(encode(texts[:4]), labels[:4], texts[:4], encode(["send money"]), np.asarray([3]))
    assert alone.tolist() == [False]


def test_what_becomes_of_copies_is_counted():
    texts = ["lost card 12", "my card lost 12", "lost my card 99", "send money 12", "money send now 5"] * 2
    rows = [Example(text, {"intent": int("money" in text)}) for text in texts]
    rows += [Example("a pair", {"intent": 1}, pair="of two"), Example("nothing", {})]
    options = Augment(kinds=["template", "words"], copies=2, likeness=0.4)
    found, told = augmented(rows, [INTENT], options, fixed(texts), seed=0, held=["lost card 99"])
    assert set(told) == {"template", "words"}
    for counts in told.values():
        fates = {name: counts[name] for name in ("known", "unlike", "other_label", "kept")}
        assert sum(fates.values()) == counts["made"] > 0
    assert len(found) == sum(counts["kept"] for counts in told.values()) > 3
    new = [row.text for row in found]
    assert len(set(new)) == len(new)
    assert not set(new) & {*texts, "lost card 99"}  # validation rows get no twins
    assert all(("money" in row.text) <= (row.targets["intent"] == 1) for row in found)
    again, _ = augmented(rows, [INTENT], options, fixed(texts), seed=0, held=["lost card 99"])
    assert [row.text for row in again] == new
    strict, told = augmented(rows, [INTENT], options.model_copy(update={"likeness": 1.0}), fixed(texts), 0)
    assert told["template"]["unlike"] > 0
    assert len(strict) < len(found)


def test_labels_of_a_multilabel_head_are_all_kept():
    head = HeadSpec(name="tags", kind="multilabel", labels=["card", "late"])
    texts = ["card late", "the card late", "card", "my card", "late", "so late", "none", "none now"]
    rows = [Example(t, {"tags": [float("card" in t), float("late" in t)]}) for t in texts]
    found, told = augmented(rows, [head], Augment(copies=3, likeness=-1.0), fixed(texts), seed=1)
    assert told["words"]["other_label"] > 0
    for row in found:
        assert [float("card" in row.text.split()), float("late" in row.text.split())] == row.targets["tags"]


@pytest.mark.filterwarnings("ignore:.*generation flags.*")
def test_texts_go_there_and_back(tmp_path):
    texts = ["my card is lost", "send the money now", "rate"]
    there, back = (str(tiny_t5(tmp_path / name, texts, seed=seed)) for seed, name in enumerate("ab"))
    found = there_and_back(texts, there, back, copies=2, seed=0)
    assert [len(own) for own in found] == [2, 2, 2]
    assert all(isinstance(text, str) for own in found for text in own)
    assert found == there_and_back(texts, there, back, copies=2, seed=0)
    assert any(first != drawn for first, drawn in found)  # the second copy draws its words
    rows = [Example(text, {"intent": i % 2}) for i, text in enumerate(texts)]
    options = Augment(kinds=["translate"], there=there, back=back)
    kept, told = augmented(rows, [INTENT], options, fixed(texts), seed=0)
    assert not kept  # what untrained models write means nothing
    assert told["translate"]["made"] == told["translate"]["unlike"] + told["translate"]["known"]
    with pytest.raises(NotFound, match="there is no translation model in nowhere"):
        there_and_back(texts, "nowhere", back, copies=1, seed=0)
    with pytest.raises(BadInput, match="is no encoder-decoder"):
        there_and_back(texts, str(tiny_llama(tmp_path / "c", texts)), back, copies=1, seed=0)


def test_a_training_learns_from_copies_and_says_how_many(recipe, rows, tmp_path):
    made = recipe(method={"kind": "frozen"}, augment={"kinds": ["words", "mined"], "likeness": 0.3})
    report = finetune(made, {"rows": rows}, tmp_path / "out", home=tmp_path, progress=False)
    counts = report.prepared["augment"]
    assert set(counts) == {"words", "mined"}
    assert sum(one["kept"] for one in counts.values()) > 10
    assert report.metrics["intent"]["accuracy"] > 0.9


def test_what_does_not_go_together_is_refused(recipe):
    for wrong in ({"kinds": ["translate"]}, {"there": "a", "back": "b"}):
        with pytest.raises(BadInput, match="belong together"):
            recipe(augment=wrong)
    with pytest.raises(BadInput, match="augment is for heads of kind classify, multilabel, regress"):
        Recipe.parse({"heads": {"ner": {"kind": "tag", "data": "rows"}}, "augment": {}})
    assert recipe(augment=None).hash() == recipe().hash()
