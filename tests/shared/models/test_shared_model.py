import gc
import threading

import numpy as np
import pytest

from shared.errors import Unavailable
from shared.models.shared_model import SharedModel
from shared.models.text_model import TextModel
from shared.settings import Runtime
from shared.telemetry import caller
from shared.testing.encoders import EncoderContract

TEXTS = ["where is my card", "money", "which rate is used"]


class Gate(TextModel):
    """A real model whose passes are counted and wait for `open`."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.passes, self.open, self.entered = [], threading.Event(), threading.Event()
        self.open.set()

    def raw(self, encodings):
        self.passes.append(len(encodings))
        self.entered.set()
        assert self.open.wait(60)
        return super().raw(encodings)


@pytest.fixture
def model(trained):
    gate = Gate.load(trained, threads=1)
    gate.passes.clear()  # those of the self-test
    gate.entered.clear()
    return gate


class TestSharedModel(EncoderContract):
    @pytest.fixture
    def encoder(self, model):
        return SharedModel(model, Runtime())


class TestQuestions(EncoderContract):
    @pytest.fixture
    def encoder(self, model):
        shared = SharedModel(model, Runtime())

        class Asking:
            dim, fingerprint = shared.dim, shared.fingerprint

            def embed(self, texts, *, query=False):
                return shared.embed(texts, query=True)

        return Asking()


def ask(shared, text, found, name=""):
    def run():
        caller.set(name)
        try:
            found[text] = shared.run([text], query=True)
        except Unavailable as error:
            found[text] = error

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_questions_of_many_threads_share_a_pass_and_are_remembered(model):
    shared, found = SharedModel(model, Runtime()), {}
    model.open.clear()
    threads = [ask(shared, "the first", found)]
    assert model.entered.wait(60)
    threads += [ask(shared, text, found) for text in TEXTS]
    queue = shared._batcher._queue
    with queue.changed:
        assert queue.changed.wait_for(lambda: queue._texts == 3, 60)
    model.open.set()
    for thread in threads:
        thread.join(60)
    assert model.passes == [1, 3]
    plain = model.run(TEXTS, query=True)
    for row, text in enumerate(TEXTS):
        assert found[text].vectors[0] == pytest.approx(plain.vectors[row], abs=1e-5)
    before = len(model.passes)
    again = shared.run(TEXTS, query=True)
    assert len(model.passes) == before
    assert np.array_equal(again.vectors[1], found[TEXTS[1]].vectors[0])


def test_too_many_questions_are_sent_away_with_a_time_while_documents_go_on(model):
    shared, found = SharedModel(model, Runtime(queue_texts=1)), {}
    model.open.clear()
    threads = [ask(shared, "the first", found)]
    assert model.entered.wait(60)
    threads.append(ask(shared, "the second", found))
    queue = shared._batcher._queue
    with queue.changed:
        assert queue.changed.wait_for(lambda: queue._texts == 1, 60)
    with pytest.raises(Unavailable, match="ask again in 1 s") as refused:
        shared.run(["the third"], query=True)
    assert refused.value.retry_after == 1
    model.open.set()
    assert shared.embed(["a page"]).shape == (1, model.dim)
    for thread in threads:
        thread.join(60)
    assert found["the second"].vectors is not None


def test_the_caller_of_the_request_is_the_caller_of_the_queue(model):
    shared, found = SharedModel(model, Runtime()), {}
    model.open.clear()
    threads = [ask(shared, "the first", found)]
    assert model.entered.wait(60)
    threads += [ask(shared, text, found, name) for text, name in zip(TEXTS, "aab", strict=True)]
    queue = shared._batcher._queue
    with queue.changed:
        assert queue.changed.wait_for(lambda: queue._texts == 3, 60)
        assert {name: len(line) for name, line in queue._lines.items()} == {"a": 2, "b": 1}
    model.open.set()
    for thread in threads:
        thread.join(60)


def test_a_model_that_is_gone_takes_no_thread(model):
    shared = SharedModel(model, Runtime())
    shared.run(["money"], query=True)
    thread = shared._batcher._thread
    del shared
    gc.collect()
    thread.join(60)
    assert not thread.is_alive()


def test_nothing_is_kept_where_the_memory_is_zero(model):
    shared = SharedModel(model, Runtime(memo_bytes=0))
    shared.run(["money"], query=True)
    shared.run(["money"], query=True)
    assert model.passes == [1, 1]
