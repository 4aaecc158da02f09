import threading

import numpy as np
import pytest

from shared.errors import Unavailable
from shared.models.micro_batcher import MicroBatcher, Queue, _Request
from shared.models.text_model import TextModel

TEXTS = ["where is my card", "which rate is used again, today and now", "money", "the card did not come"]


class Gate:
    """A real model whose passes wait for `open`, and are counted."""

    def __init__(self, model):
        self.model, self.open, self.entered = model, threading.Event(), threading.Event()
        self.passes = []
        self.encode, self.outputs = model.encode, model.outputs

    def raw(self, encodings):
        self.passes.append(len(encodings))
        self.entered.set()
        assert self.open.wait(60)
        return self.model.raw(encodings)


class Asked:
    """A call in a thread of its own."""

    def __init__(self, batcher, texts, **options):
        self.result = self.error = None
        self.thread = threading.Thread(target=self._ask, args=(batcher, texts, options))
        self.thread.start()

    def _ask(self, batcher, texts, options):
        try:
            self.result = batcher.run(texts, **options)
        except Exception as error:
            self.error = error

    def end(self):
        self.thread.join(60)
        return self.result


def waiting(batcher, count):
    """Wait until `count` texts are in the queue."""
    queue = batcher._queue
    with queue.changed:
        assert queue.changed.wait_for(lambda: queue._texts == count, 60)


@pytest.fixture
def model(trained):
    return TextModel.load(trained, threads=1)


@pytest.fixture
def gate(model):
    return Gate(model)


@pytest.fixture
def busy(gate):
    """A batcher whose thread is inside a pass of one text."""
    batcher = MicroBatcher(gate, wait_ms=0, room=6)
    first = Asked(batcher, ["money"])
    assert gate.entered.wait(60)
    yield batcher
    gate.open.set()
    first.end()
    batcher.close()


def test_many_threads_get_their_own_rows_from_shared_passes(model, gate, busy):
    asked = [Asked(busy, [text], caller=str(i)) for i, text in enumerate(TEXTS)]
    waiting(busy, 4)
    gate.open.set()
    found = [one.end() for one in asked]
    assert gate.passes == [1, 4]
    alone = [model.run([text]) for text in TEXTS]
    for one, other in zip(found, alone, strict=True):
        assert one.vectors == pytest.approx(other.vectors, abs=1e-5)
        assert one.probabilities["intent"] == pytest.approx(other.probabilities["intent"], abs=1e-5)


def test_a_full_queue_says_when_to_come_again(gate, busy):
    waits = Asked(busy, ["card"] * 5)
    waiting(busy, 5)
    with pytest.raises(Unavailable, match="5 texts wait for the model already") as refused:
        busy.run(["card", "card"])
    assert refused.value.retry_after >= 1
    gate.open.set()
    assert waits.end().vectors.shape[0] == 5


def test_a_request_that_was_given_up_is_not_computed(gate, busy):
    with pytest.raises(Unavailable, match="within 0 s"):
        busy.run(["card"], timeout_s=0)
    kept = Asked(busy, ["rate", "money"])
    waiting(busy, 3)
    gate.open.set()
    assert kept.end().vectors.shape[0] == 2
    assert gate.passes == [1, 2]


def test_all_given_up_leaves_the_thread_alive(gate, busy):
    with pytest.raises(Unavailable):
        busy.run(["card"], timeout_s=0)
    gate.open.set()
    assert busy.run(["card"]).vectors.shape[0] == 1
    assert gate.passes == [1, 1]


def test_callers_take_turns(model):
    queue = Queue(room=100)
    for at, caller in enumerate(["much", "much", "much", "little"]):
        queue.put(caller, _Request(model.encode([TEXTS[at]]), until=float("inf")))
    taken = [queue.take(tokens=1, wait_s=0)[0].encodings[0].ids for _ in range(4)]
    assert taken == [model.encode([TEXTS[at]])[0].ids for at in (0, 3, 1, 2)]
    assert queue._texts == 0


def test_a_pass_stays_in_its_budget_but_never_starves(model):
    queue = Queue(room=100)
    for caller in "abc":
        queue.put(caller, _Request(model.encode(["money"]), until=float("inf")))
    each = len(model.encode(["money"])[0].ids)
    assert [len(queue.take(tokens=2 * each, wait_s=0)) for _ in range(2)] == [2, 1]


def test_an_error_reaches_every_caller_and_the_next_is_answered(model):
    class Broken(Gate):
        def raw(self, encodings):
            if len(encodings) == 2:
                raise ValueError("no such row")
            return self.model.raw(encodings)

    with MicroBatcher(Broken(model), wait_ms=0) as batcher:
        with pytest.raises(ValueError, match="no such row"):
            batcher.run(["card", "rate"])
        assert batcher.run(["card"]).vectors.shape[0] == 1


def test_no_texts_and_a_closed_batcher(model):
    batcher = MicroBatcher(model)
    assert batcher.run([]).vectors.shape == (0, model.dim)
    batcher.close()
    with pytest.raises(Unavailable, match="taken down"):
        batcher.run(["card"])


def test_requests_of_unequal_length_fit_one_pass(model, gate, busy):
    asked = [Asked(busy, ["card " * 30]), Asked(busy, ["money"])]
    waiting(busy, 2)
    gate.open.set()
    for one, text in zip(asked, ["card " * 30, "money"], strict=True):
        assert np.allclose(one.end().vectors, model.run([text]).vectors, atol=1e-5)
