"""Sending records: keyed, idempotent, acknowledged by all replicas."""

from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, Self

from kafka import KafkaProducer
from kafka.errors import KafkaError, KafkaTimeoutError, MessageSizeTooLargeError
from kafka.partitioner.default import murmur2

from shared.errors import Conflict, NotFound, TooLarge, TrilliumError, Unavailable
from shared.stream import room
from shared.stream.cluster import Cluster, addresses, describe, options_for, reaching
from shared.stream.records import encode, encode_key

LINGER_MS = 20  # with 128 KiB batches 18-21,000 records a second instead of 12-17,000
BATCH_BYTES = 128 * 1024
# kafka-python 3 has no bound of its own on what waits to be sent (buffer_memory is gone).
MAX_WAITING = 5_000
FLUSH_S = 60.0


class Publisher:
    """Sends JSON records; use it as a context, which flushes at its end.

    A record counts as sent only once `flush` (or the end of the context) returned without an error.
    """

    def __init__(self, bootstrap: str | None) -> None:
        self._bootstrap = bootstrap
        self._cluster: Cluster | None = None
        self._producer: KafkaProducer | None = None
        self._waiting = 0
        self._failures: list[tuple[str, Exception]] = []

    def __enter__(self) -> Self:
        self._open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self.flush()
        finally:
            self.close()

    def send(self, topic: str, key: str, value: Mapping[str, Any]) -> None:
        """Queue one record. `"v": 1` is added; the arrival time is the broker's or this machine's now.

        Raises BadInput or TooLarge for what can't be a record, NotFound without such a topic, and
        Unavailable when earlier ones could not be sent.
        """
        self.send_bytes(topic, encode_key(key), encode(value))

    def send_bytes(self, topic: str, key: bytes, value: bytes | None) -> None:
        """Queue one record as it is: for passing on what came from elsewhere."""
        producer = self._open()
        try:
            future = producer.send(topic, key=key, value=value)
        except KafkaTimeoutError as error:
            raise self._no_topic(topic, error) from error
        except MessageSizeTooLargeError as error:
            raise TooLarge(f"a record for {topic} is larger than the broker takes: {error}") from error
        future.add_errback(lambda error: self._failures.append((topic, error)))
        self._waiting += 1
        if self._waiting >= MAX_WAITING:
            self.flush()

    def flush(self) -> None:
        """Wait until all is acknowledged. Raises Unavailable or Conflict when something was not."""
        if self._producer is not None:
            with reaching(str(self._bootstrap)):
                self._producer.flush(timeout=FLUSH_S)
        self._waiting = 0
        failures, self._failures = self._failures, []
        if failures:
            topic, error = failures[0]
            raise self._failed(topic, error, len(failures)) from error

    def require_room(self, topic: str, records: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
        """Raise TooLarge if the embedded broker would drop some of these (key, value) pairs.

        Call it before the first `send` of a feed. A real broker has room: there this returns at
        once and reads nothing of `records`.
        """
        producer = self._open()
        if self._cluster is None or not self._cluster.embedded:
            return
        with reaching(str(self._bootstrap)):
            count = len(producer.partitions_for(topic))
            already = room.held(str(self._bootstrap), self._cluster, topic)
        coded = ((encode_key(key), encode(value)) for key, value in records)
        room.require_room(topic, coded, lambda key: int(murmur2(key) & 0x7FFFFFFF) % count, already)

    def close(self) -> None:
        """Close the connections; what was not flushed may be lost. Closing twice is no error."""
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.close(timeout=1)

    def _open(self) -> KafkaProducer:
        if self._producer is None:
            where = addresses(self._bootstrap)
            self._cluster = describe(self._bootstrap)
            with reaching(",".join(where)):
                self._producer = KafkaProducer(
                    bootstrap_servers=where,
                    linger_ms=LINGER_MS,
                    batch_size=BATCH_BYTES,
                    max_block_ms=10_000,
                    allow_auto_create_topics=self._cluster.embedded,
                    metrics_enabled=False,
                    **options_for(self._cluster),
                )
        return self._producer

    def _no_topic(self, topic: str, error: Exception) -> TrilliumError:
        return NotFound(
            f"the broker at {self._bootstrap} knows no topic {topic!r} ({error}); make it, or start the "
            "command that does"
        )

    def _failed(self, topic: str, error: Exception, count: int) -> TrilliumError:
        if isinstance(error, MessageSizeTooLargeError):
            return TooLarge(f"{count} records for {topic} are larger than the broker takes")
        if isinstance(error, KafkaError) and not error.retriable:
            return Conflict(f"{count} records for {topic} were refused: {error}")
        return Unavailable(
            f"{count} records for {topic} were not acknowledged by {self._bootstrap}: {error}; "
            "send them again"
        )
