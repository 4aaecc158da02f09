"""Next-sentence prediction beside hidden words: what is drawn, what is learnt, and what stays as it was."""

from collections import Counter

import pytest
import torch
from transformers import set_seed

from shared.errors import BadInput
from shared.finetuning.bases import resolve
from shared.finetuning.collate import IGNORED, Collator, masker
from shared.finetuning.examples import examples, head_specs
from shared.finetuning.feeding import Feed
from shared.finetuning.following import drawn, parted
from shared.finetuning.recipe import Recipe
from shared.finetuning.rows import Rows
from shared.finetuning.train import load

THINGS = ("card", "money", "rate", "home")
TEXTS = [f"My {one} is here. And the {one} came today. The {one} is new." for one in THINGS]
WORDS = {"words": {"kind": "mlm", "data": "rows", "next_sentence": True}}


@pytest.fixture
def ready(recipe, tmp_path):
    def make(texts, **heads):
        made = recipe(heads={"words": {**WORDS["words"], **heads}}, train={})
        data = {"rows": Rows([{"text": text} for text in texts])}
        specs = head_specs(made, data)
        set_seed(0)
        model, tokenizer, length = load(resolve(made.base, home=tmp_path), made, specs)
        feed = Feed(tokenizer, length, types=model.typed and made.pairs)
        rows = examples(made, specs, data, "train")
        return model, rows, Collator(specs, feed, masker(tokenizer)), made

    return make


def test_a_text_is_cut_and_half_get_anothers_end():
    assert parted("One. Two! Three") == ("One.", "Two!", "Three")
    assert parted("One alone.") is True
    torch.manual_seed(0)
    values = [parted(text) for text in TEXTS] + [True]
    seen = Counter()
    for _ in range(200):
        firsts, seconds, follows = drawn([*TEXTS, "alone"], values)
        assert (firsts[-1], seconds[-1], follows[-1]) == ("alone", "", None)
        for text, first, second, follow in zip(TEXTS, firsts, seconds, follows, strict=False):
            assert text.startswith(first)
            assert text.endswith(second) == (f"{first} {second}" == text) == (follow == 1)
            seen[follow] += 1
    assert seen[0] == pytest.approx(seen[1], rel=0.2)
    assert drawn(TEXTS[:1], values[:1])[2] == [None]  # alone in its batch


def test_words_of_both_parts_are_hidden(ready):
    model, rows, collator, _ = ready([*TEXTS, "alone"])
    torch.manual_seed(0)
    hidden = Counter()
    for _ in range(40):
        batch = collator(rows)
        target, types = batch["targets"]["words"], batch["token_type_ids"]
        places = target["labels"] != IGNORED
        assert target["follows"].tolist()[-1] == IGNORED
        hidden.update(types[places].tolist())
        assert not places[batch["attention_mask"] == 0].any()
    assert min(hidden[0], hidden[1]) > 20
    assert model(**batch)["loss"].isfinite()


def test_what_follows_is_in_the_loss(ready):
    model, rows, collator, _ = ready([*TEXTS, "alone"])
    torch.manual_seed(1)
    batch = collator(rows)
    follows = batch["targets"]["words"].pop("follows")
    assert {0, 1, IGNORED} == set(follows.tolist())
    hidden = model(**batch)["loss"]
    batch["targets"]["words"]["follows"] = follows
    both = model(**batch)["loss"]
    head = model.heads["words"].following
    tokens = model.tokens(batch["input_ids"], batch["attention_mask"], batch["token_type_ids"])
    logs = head(tokens[:4, 0]).log_softmax(1)  # the last row has no second part
    wanted = hidden - logs[range(4), follows[:4]].sum() / 5
    assert both.item() == pytest.approx(wanted.item(), rel=1e-5)
    (both - hidden).backward()
    assert head.weight.grad.abs().sum() > 0


def test_without_it_nothing_is_cut(ready):
    model, rows, collator, _ = ready(TEXTS, next_sentence=False)
    assert [row.targets["words"] for row in rows] == [True] * 4
    assert "follows" not in collator(rows)["targets"]["words"]
    assert not [name for name in model.state_dict() if "following" in name]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"heads": {"a": {"kind": "classify", "data": "rows", "next_sentence": True}}}, "belongs to mlm"),
        ({"heads": {**WORDS, "a": {"kind": "classify", "data": "rows"}}}, "shares no pass with other heads"),
        ({"heads": WORDS, "method": {"kind": "prefix"}}, "prefix can't tell two texts apart"),
    ],
    ids=str,
)
def test_what_can_not_go_together_is_refused(changes, said):
    with pytest.raises(BadInput, match=said):
        Recipe.parse({"data": {"rows": {}}, **changes})
