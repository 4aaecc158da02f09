import numpy as np
import pytest

from shared.models.memo import Memo, RememberingModel
from shared.models.text_model import TextModel
from shared.testing.encoders import EncoderContract

TEXTS = ["where is my card", "money", "where is my card", "which rate is used"]


@pytest.fixture
def model(trained):
    return TextModel.load(trained, threads=1)


@pytest.fixture
def memo():
    return Memo(1_000_000)


class TestRememberingModel(EncoderContract):
    @pytest.fixture
    def encoder(self, model, memo):
        return RememberingModel(model, memo)


class Counting(TextModel):
    """A real model that says which texts it was asked."""

    asked: list

    def run(self, texts, *, pairs=None, query=False):
        self.asked += list(texts)
        return super().run(texts, pairs=pairs, query=query)


@pytest.fixture
def counting(trained):
    model = Counting.load(trained, threads=1)
    model.asked = []
    return model


def test_a_text_is_computed_once(counting, memo):
    remembering = RememberingModel(counting, memo)
    first = remembering.run(TEXTS)
    again = remembering.run(TEXTS[::-1])
    assert counting.asked == ["where is my card", "money", "which rate is used"]
    assert (memo.hits, memo.misses) == (3, 3)
    assert np.array_equal(first.vectors[::-1], again.vectors)
    plain = counting.run(TEXTS)
    assert again.probabilities["tags"][::-1] == pytest.approx(plain.probabilities["tags"], abs=1e-5)


def test_another_slot_calibration_or_query_is_another_answer(counting, memo):
    for slot in ("interactive", "bulk"):
        RememberingModel(counting, memo, slot=slot).run(["card"])
    RememberingModel(counting, memo).run(["card"], query=True)
    counting.heads["intent"] = counting.heads["intent"].model_copy(update={"temperature": 9.0})
    RememberingModel(counting, memo).run(["card"])
    assert counting.asked == ["card"] * 4
    assert len(memo) == 4


def test_the_size_stays_under_the_limit_and_the_oldest_goes(model):
    one = Memo(1_000_000)
    RememberingModel(model, one).run(["card"])
    memo = Memo(one.bytes * 2 + 10)
    remembering = RememberingModel(model, memo)
    for text in ("card", "rate", "card", "money"):
        remembering.run([text])
        assert memo.bytes <= memo.limit
    assert len(memo) == 2
    hits = memo.hits
    remembering.run(["card"])  # used after rate, so rate went
    assert memo.hits == hits + 1


def test_an_answer_larger_than_the_limit_is_not_kept(model):
    memo = Memo(10)
    assert RememberingModel(model, memo).run(["card"]).vectors.shape == (1, model.dim)
    assert (len(memo), memo.bytes) == (0, 0)


def test_what_is_kept_can_not_be_changed(model, memo):
    remembering = RememberingModel(model, memo)
    remembering.run(["card"]).vectors[:] = 0
    assert np.linalg.norm(remembering.embed(["card"])) == pytest.approx(1, abs=1e-5)
