"""The worker loop: read, write with the offset in one transaction, then mirror the offset to Kafka."""

import base64
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any, Generic, TypeVar

from shared.clock import Clock, SystemClock
from shared.errors import StorageFull, TrilliumError, Unavailable
from shared.storage.engine import Database
from shared.stream.handler import Counters, Handler
from shared.stream.positions import Positions
from shared.stream.publisher import Publisher
from shared.stream.subscription import Batch, Subscription
from shared.stream.tables import DeadLetter, StreamTables
from shared.stream.writing import Writer
from shared.telemetry import logger

log = logger(__name__)
T = TypeVar("T")
P = TypeVar("P")

POLL_S = 0.5  # a stop is noticed within this; the broker drops a silent member after 45 s
IDLE_S = 2.0
LAG_S = 5.0
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 30.0  # under max.poll.interval.ms, 5 minutes: the group is kept
IDLE_ATTEMPTS = (
    10  # `until_idle` is a batch job: after about two minutes of waiting it says why it can't go on
)
LETTER_BYTES = 600_000  # in base64 this stays under the broker's 1 MB; the table keeps the whole


def run_worker(
    subscription: Subscription,
    handler: Handler[T, P],
    db: Database,
    *,
    tables: StreamTables,
    until_idle: bool = False,
    stop: threading.Event | None = None,
    clock: Clock | None = None,
    counters: Counters | None = None,
    publisher: Publisher | None = None,
    dead_letter_topic: str | None = None,
    accept_new_broker: bool = False,
    idle_s: float = IDLE_S,
    wait: Callable[[float], Any] | None = None,
) -> Counters:
    """Work until `stop` is set, or with `until_idle` until all partitions stood at their end for `idle_s`.

    `subscription` is open and stays so. After `stop` the running batch is finished and committed. The
    effects of each record are written once, whatever is killed when: the row `next` in `db`, read
    inside the write transaction, decides. Dead letters go to their table in that transaction and,
    as well as it goes, to `dead_letter_topic` through `publisher`.

    A database or broker that is busy or away is waited for with `wait` (seconds; by default it ends
    early when `stop` is set). Raises StorageFull at once, Conflict for a broker or topic that is not
    the one from before unless `accept_new_broker`, and what the handler raises; nothing is lost then.
    """
    ended = stop or threading.Event()
    loop = _Loop(
        subscription,
        handler,
        db,
        tables,
        counters or Counters(),
        clock or SystemClock(),
        accept_new_broker=accept_new_broker,
    )
    loop.letters = _Letters(publisher, dead_letter_topic)
    loop.run(ended, idle_s if until_idle else None, wait or ended.wait)
    return loop.counters


@contextmanager
def stop_on_signals() -> Iterator[threading.Event]:
    """Give an event that SIGTERM and SIGINT set; the handlers from before return at the end."""
    stop = threading.Event()

    def ask(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, old in before.items():
            signal.signal(number, old)


class _Letters:
    """Copies dead letters to their topic; the table has them already, so a failure is only logged."""

    def __init__(self, publisher: Publisher | None, topic: str | None) -> None:
        self._publisher, self._topic = publisher, topic

    def send(self, letters: Sequence[DeadLetter]) -> None:
        if not letters or self._publisher is None or self._topic is None:
            return
        try:
            for letter in letters:
                r = letter.record
                self._publisher.send(self._topic, f"{r.topic}/{r.partition}/{r.offset}", _copy(letter))
            self._publisher.flush()
        except TrilliumError as error:
            log.warning("dead_letters_not_copied", topic=self._topic, count=len(letters), why=error.detail)


def _copy(letter: DeadLetter) -> dict[str, Any]:
    record = letter.record
    whole = record.value or b""
    return {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "key": record.key,
        "why": letter.why.encode("utf-8", "backslashreplace").decode().replace("\x00", "\\x00"),
        "value_base64": None if record.value is None else base64.b64encode(whole[:LETTER_BYTES]).decode(),
        "cut": len(whole) > LETTER_BYTES,
    }


class _Loop(Generic[T, P]):
    def __init__(
        self,
        subscription: Subscription,
        handler: Handler[T, P],
        db: Database,
        tables: StreamTables,
        counters: Counters,
        clock: Clock,
        *,
        accept_new_broker: bool,
    ) -> None:
        self.counters = counters
        self.letters = _Letters(None, None)
        self._subscription, self._handler, self._clock = subscription, handler, clock
        self._positions = Positions(
            subscription, db, tables, counters, clock, accept_new_broker=accept_new_broker
        )
        self._writer = Writer(handler, db, tables, subscription.cluster.id, counters, clock)
        self._failures = 0  # in a row
        self._measured = 0.0
        self._stand: tuple[tuple[int, ...], float] | None = None  # ends of all partitions, and since when

    def run(self, stop: threading.Event, idle_s: float | None, wait: Callable[[float], Any]) -> None:
        self._positions.check_broker()
        while not stop.is_set():
            try:
                if self._step(idle_s):
                    return
            except StorageFull:
                raise
            except Unavailable as error:
                self._failures += 1
                if idle_s is not None and self._failures >= IDLE_ATTEMPTS:
                    raise
                self._stand_back(error, wait)

    def _step(self, idle_s: float | None) -> bool:
        """Do one round; True when the work is done."""
        polled = self._subscription.poll(POLL_S if idle_s is None else min(POLL_S, idle_s))
        if polled.unplaced:
            self._positions.place(polled.unplaced)
        if polled.batches:
            self._write(polled.batches)
        self._handler.tick(self._clock.now())
        if not polled.unplaced:  # to be placed again is no progress yet
            self._failures = 0
        quiet = not polled.batches and not polled.unplaced
        if idle_s is not None and quiet and self._is_idle(idle_s):
            self._handler.on_idle()
            return True
        if time.monotonic() - self._measured > LAG_S:
            self._measure()
        return False

    def _write(self, batches: Sequence[Batch]) -> None:
        # 1. the transaction  2. Kafka's copy of the offset  3. copies of the dead letters
        for batch in batches:
            if batch.records and batch.records[0].offset > batch.start:
                self._positions.count_gap(batch.partition, batch.start)
        settled = self._writer.settle(batches)
        if settled.nexts:
            self._subscription.commit(settled.nexts)
        if settled.misplaced:
            self._subscription.unplace(settled.misplaced)
        self.letters.send(settled.letters)
        self._stand = None

    def _measure(self) -> tuple[int, ...] | None:
        """Return where all partitions end, or None while records wait."""
        self._measured = time.monotonic()
        waiting, ends = self._positions.lag()
        return None if waiting else ends

    def _is_idle(self, idle_s: float) -> bool:
        ends = self._measure()
        if ends is None or self._stand is None or self._stand[0] != ends:
            self._stand = None if ends is None else (ends, time.monotonic())
            return False
        return time.monotonic() - self._stand[1] >= idle_s

    def _stand_back(self, error: Unavailable, wait: Callable[[float], Any]) -> None:
        # What was read is dropped; after the pause it is read again from the database's position.
        self.counters.retries += 1
        seconds = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** (self._failures - 1))
        log.warning("waiting", seconds=seconds, failures=self._failures, why=error.detail)
        self._subscription.unplace()
        wait(seconds)
