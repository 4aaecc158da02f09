import numpy as np
import pytest

from shared.errors import BadInput, NotFound
from shared.finetuning.gradients import attributions, integrated_gradients
from shared.finetuning.torch_engine import load_model
from shared.models.explain import explained_head, log_odds, mask_token, occlusion
from shared.models.heads import HeadSpec
from shared.models.text_model import TextModel

TEXT = "Where is my card, please?"


@pytest.fixture(scope="module")
def model(trained):
    return TextModel.load(trained, threads=1)


def test_words_come_with_their_place_and_the_telling_one_weighs_most(model):
    told = occlusion(model, TEXT, "intent")
    assert told.label == "card"
    assert told.method == "occlusion"
    assert [token.text for token in told.tokens] == ["Where", "is", "my", "card", "please"]
    assert all(TEXT[token.start : token.end] == token.text for token in told.tokens)
    assert max(told.tokens, key=lambda token: token.weight).text == "card"


def test_a_weight_is_what_the_answer_loses_without_the_word(model):
    told = occlusion(model, TEXT, "intent")
    head = model.heads["intent"]
    rows = model.logits([TEXT, "Where is my [MASK], please?"])["intent"]
    odds = log_odds(head, rows, head.labels.index("card"))
    assert told.tokens[3].weight == pytest.approx(odds[0] - odds[1], abs=1e-4)
    assert mask_token(model)[0] == "[MASK]"


def test_the_odds_are_those_of_the_probability():
    head = HeadSpec(name="h", kind="classify", labels=["a", "b", "c"], temperature=2.0)
    rows = np.array([[2.0, 1.0, -1.0]], np.float32)
    p = head.decode(rows)[0, 1]
    assert log_odds(head, rows, 1)[0] == pytest.approx(np.log(p / (1 - p)), abs=1e-5)


def test_another_label_can_be_asked_for(model):
    against = occlusion(model, TEXT, "intent", label="money")
    assert against.label == "money"
    assert min(against.tokens, key=lambda token: token.weight).text == "card"
    with pytest.raises(NotFound, match="has no label 'loans'; it has card, money, rate"):
        occlusion(model, TEXT, "intent", label="loans")


@pytest.mark.parametrize("explain", ["occlusion", "gradients"])
def test_other_kinds_of_head(model, trained, explain):
    def told(text, *args, **options):
        if explain == "gradients":
            return integrated_gradients(trained, model, text, *args, **options)
        return occlusion(model, text, *args, **options)

    assert told(TEXT, "tags").label in ("card", "late")
    near = told("where is my card", "embed", other="my card is lost")
    assert near.label == pytest.approx(
        float(model.embed(["where is my card"])[0] @ model.embed(["my card is lost"])[0]), abs=1e-5
    )
    assert len(near.tokens) == 4
    with pytest.raises(BadInput, match="embed head needs second text"):
        told(TEXT, "embed")
    with pytest.raises(BadInput, match="classify head reads no second text"):
        told(TEXT, "intent", other="x")


def test_texts_without_words_long_and_chinese_ones(model, monkeypatch):
    assert occlusion(model, "", "intent").tokens == []
    assert occlusion(model, "?!", "intent").tokens == []
    assert [token.text for token in occlusion(model, "我的card", "intent").tokens] == ["我", "的", "card"]
    long = occlusion(model, "card " * 300, "intent").tokens
    assert len(long) == 300
    assert long[-1].weight == 0  # behind the model's length
    monkeypatch.setattr("shared.models.explain.MOST", 10)
    few = occlusion(model, "card " * 300, "intent").tokens
    assert few[0].weight == few[1].weight != 0  # masked together


def test_the_first_fitting_head_is_taken(model):
    assert explained_head(model, None).name == "intent"
    with pytest.raises(NotFound, match="no head 'x'; it has intent, tags, embed"):
        explained_head(model, "x")


def test_a_kind_that_is_not_explained_is_said(model):
    model.heads["names"] = HeadSpec(name="names", kind="tag", labels=["O", "B-X"])
    try:
        with pytest.raises(BadInput, match="head 'names' is of kind tag; only heads of kind classify"):
            explained_head(model, "names")
    finally:
        del model.heads["names"]


def test_gradients_are_complete_and_agree(trained, model):
    told = integrated_gradients(trained, model, TEXT, "intent", steps=64)
    assert told.label == "card"
    assert max(told.tokens, key=lambda token: token.weight).text == "card"
    trained_model, (encoding,) = load_model(trained), model.encode([TEXT])
    at = model.heads["intent"].labels.index("card")

    def measure(vectors):
        return trained_model.heads["intent"](vectors)[:, at]

    weights, low, high = attributions(
        trained_model, encoding.ids, measure, baseline=mask_token(model)[1], steps=128
    )
    assert weights.sum() == pytest.approx(high - low, rel=0.01, abs=1e-3)
    assert high == pytest.approx(model.logits([TEXT])["intent"][0, at], abs=1e-4)
    assert weights[0] == weights[-1] == 0
