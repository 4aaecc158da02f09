"""Requests of many threads share passes of a model: one pass over twenty texts is quicker than twenty."""

import math
import threading
import time
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import tokenizers

from shared.errors import Unavailable
from shared.models.heads import FloatArray
from shared.models.text_model import Outputs, TextModel

Clock = Callable[[], float]


class _Request:
    """Tokens to run, and what came of them; `done` is set once there is an answer or an error."""

    def __init__(self, encodings: list[tokenizers.Encoding], until: float) -> None:
        self.encodings, self.until = encodings, until
        self.tokens = len(encodings) * max((len(one.ids) for one in encodings), default=0)
        self.done = threading.Event()
        self.abandoned = False
        self.raw: dict[str, FloatArray] | None = None
        self.error: BaseException | None = None


class Raw(Protocol):
    """The part of a text model that one thread at a time runs."""

    def raw(self, encodings: Sequence[tokenizers.Encoding]) -> dict[str, FloatArray]:
        """Return the numbers by head, row i for encoding i."""


class Queue:
    """Waiting requests, at most `room` texts: callers take turns, whoever waits longest in a turn is first.

    A request that its caller gave up, or whose time is over, is dropped when its turn comes. Safe between
    threads.
    """

    def __init__(self, room: int, monotonic: Clock = time.monotonic) -> None:
        self._room, self.monotonic = room, monotonic
        self._lines: OrderedDict[str, deque[_Request]] = OrderedDict()
        self._texts = 0
        self.changed = threading.Condition()
        self.closed = False
        self.per_text_s = 0.005  # what a text took lately

    def put(self, caller: str, request: _Request) -> None:
        """Let the request wait in its caller's line; raises Unavailable, with the seconds after which there
        may be room, when the queue is full or closed."""
        with self.changed:
            if self.closed:
                raise Unavailable("the model is being taken down; ask again", retry_after=1)
            # A request larger than the whole queue may still come when nothing else waits.
            if self._texts and self._texts + len(request.encodings) > self._room:
                wait = max(1, math.ceil(self._texts * self.per_text_s))
                raise Unavailable(
                    f"{self._texts} texts wait for the model already (room for {self._room}); ask again in "
                    f"{wait} s",
                    retry_after=wait,
                )
            self._lines.setdefault(caller, deque()).append(request)
            self._texts += len(request.encodings)
            self.changed.notify_all()

    def take(self, tokens: int, wait_s: float) -> list[_Request]:
        """Return requests of together at most `tokens` (at least one request), one of each caller in turn.

        Waits for the first without end, then at most `wait_s` for more while the budget is not full. An
        empty list says that the queue is closed and empty.
        """
        with self.changed:
            while True:
                self.changed.wait_for(lambda: self._lines or self.closed)
                self._wait_for_more(tokens, wait_s)
                # All that waited may have been given up: then there is nothing to run yet.
                if (found := self._pick(tokens)) or (self.closed and not self._lines):
                    return found

    def _wait_for_more(self, tokens: int, wait_s: float) -> None:
        end = self.monotonic() + wait_s
        while not self.closed and self._waiting() < tokens:
            left = end - self.monotonic()
            if left <= 0 or not self.changed.wait(left):
                return

    def close(self) -> None:
        """Take no more; what waits is still answered."""
        with self.changed:
            self.closed = True
            self.changed.notify_all()

    def _waiting(self) -> int:
        return sum(one.tokens for line in self._lines.values() for one in line)

    def _pick(self, tokens: int) -> list[_Request]:
        found: list[_Request] = []
        spent = 0
        while self._lines:
            caller, line = next(iter(self._lines.items()))
            request = line[0]
            dropped = request.abandoned or request.until <= self.monotonic()
            if not dropped and found and spent + request.tokens > tokens:
                break
            line.popleft()
            self._texts -= len(request.encodings)
            del self._lines[caller]
            if line:
                self._lines[caller] = line  # its next request comes after everybody else's
            if dropped:
                request.error = Unavailable("the request waited too long for the model", retry_after=1)
                request.done.set()
                continue
            found.append(request)
            spent += request.tokens
        return found


class MicroBatcher:
    """A text model for many threads: each call waits at most `wait_ms` for others to share a pass with.

    One thread of its own runs the model, `tokens` at most in a pass, texts of like length together (as
    `TextModel.raw` does). `room` is how many texts may wait. Callers are told apart by `caller`: one that
    sends a thousand texts does not hold up the others. `close` ends the thread once all is answered, and so
    does the end of the batcher itself: a model that serves no more takes no thread.
    """

    def __init__(
        self,
        model: TextModel,
        *,
        wait_ms: float = 2.0,
        tokens: int = 2048,
        room: int = 1024,
        monotonic: Clock = time.monotonic,
    ) -> None:
        self.model = model
        self._monotonic = monotonic
        self._queue = Queue(room, monotonic)
        # The thread holds the parts and not the batcher, which else would never end.
        self._thread = threading.Thread(
            target=_work, args=(model, self._queue, tokens, wait_ms / 1e3), name="micro-batcher", daemon=True
        )
        self._thread.start()
        weakref.finalize(self, self._queue.close)

    def run(
        self,
        texts: Sequence[str],
        *,
        pairs: Sequence[str] | None = None,
        query: bool = False,
        caller: str = "",
        timeout_s: float = 30.0,
    ) -> Outputs:
        """Answer all heads as `TextModel.run` does; at most `timeout_s` from now.

        Raises Unavailable, with the seconds to wait, when too much waits already or the time is over, and
        whatever the model raises.
        """
        encodings = self.model.encode(texts, pairs=pairs, query=query)
        request = _Request(list(encodings), self._monotonic() + timeout_s)
        if request.encodings:
            self._queue.put(caller, request)
        else:
            request.raw = self.model.raw([])
            request.done.set()
        try:
            if not request.done.wait(timeout_s):
                raise Unavailable(f"the model did not answer within {timeout_s:g} s", retry_after=1)
        finally:
            request.abandoned = True  # whoever interrupts this thread must not be computed for
        if request.error is not None:
            raise request.error
        assert request.raw is not None  # noqa: S101 - set before `done`
        return self.model.outputs(request.encodings, request.raw)

    def close(self) -> None:
        """Take no more requests, answer those that wait, and end the thread."""
        self._queue.close()
        self._thread.join()

    def __enter__(self) -> "MicroBatcher":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


def _work(model: Raw, queue: Queue, tokens: int, wait_s: float) -> None:
    while requests := queue.take(tokens, wait_s):
        start = queue.monotonic()
        texts = serve(model, requests)
        queue.per_text_s += 0.2 * ((queue.monotonic() - start) / texts - queue.per_text_s)
        del requests  # else what was answered last lives until the next comes


def serve(model: Raw, requests: Sequence[_Request]) -> int:
    """Run the requests in one pass and give each its rows; returns how many texts there were."""
    encodings = [one for request in requests for one in request.encodings]
    try:
        raw = model.raw(encodings)
        start = 0
        for request in requests:
            end = start + len(request.encodings)
            longest = max(len(one.ids) for one in request.encodings)
            request.raw = {name: _rows(rows[start:end], longest) for name, rows in raw.items()}
            start = end
    except BaseException as error:  # the thread must live on, and every caller must hear of it
        for request in requests:
            request.error = error
    for request in requests:
        request.done.set()
    return len(encodings)


def _rows(rows: FloatArray, longest: int) -> FloatArray:
    # Numbers by token reach to the longest text of the whole pass.
    return rows[:, :longest] if rows.ndim == 3 else rows
