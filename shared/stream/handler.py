"""What an application gives the worker loop, and what the loop counts."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Protocol, TypeVar

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy.orm import Session

from shared.stream.records import Record

T = TypeVar("T")
P = TypeVar("P")


class Handler(Protocol[T, P]):
    """Three steps for each batch, and two occasions. Any step may run again for the same records."""

    def parse(self, record: Record) -> T:
        """Read one record. Raises BadInput: then it becomes a dead letter, and the others go on."""

    def prepare(self, items: list[T]) -> P:
        """Do the work that needs no transaction (score, encode); it must leave nothing behind.

        BadInput from here or from `write` sends the records through one by one, and the one that
        raises alone becomes a dead letter. Unavailable is waited out.
        """

    def write(self, session: Session, prepared: P) -> None:
        """Write results inside the transaction that also moves the offset: both are kept or neither."""

    def tick(self, now: datetime) -> None:
        """Is called after every batch, and about twice a second when nothing comes: for leased work."""

    def on_idle(self) -> None:
        """Is called once when `until_idle` found all partitions standing at their end, before the exit."""


@dataclass
class Counters:
    """What a worker did since it started; `lag` is in records, over all partitions, None until known."""

    processed: int = 0  # written, dead letters not included
    dead: int = 0  # dead letters
    redelivered: int = 0  # came again after a new assignment, below the database's position
    fenced: int = 0  # came with a batch, but the transaction found them written already
    gaps: int = 0  # offsets that were gone before they were read (retention)
    batches: int = 0
    retries: int = 0  # times that the database or the broker was waited for
    rebalances: int = 0
    lag: int | None = None


_TEXTS = {
    "processed": "Records written.",
    "dead": "Records kept as dead letters.",
    "redelivered": "Records that came again after a new assignment.",
    "fenced": "Records that a transaction found written already.",
    "gaps": "Offsets that were gone before they were read.",
    "batches": "Transactions that were committed.",
    "retries": "Times that the database or the broker was waited for.",
    "rebalances": "Assignments of partitions.",
}


class _Exported(Collector):
    def __init__(self, counters: Counters, group: str) -> None:
        self._counters, self._group = counters, group

    def collect(self) -> Iterator[Metric]:
        for name, text in _TEXTS.items():
            family = CounterMetricFamily(f"trillium_stream_{name}", text, labels=["group"])
            family.add_metric([self._group], getattr(self._counters, name))
            yield family
        if self._counters.lag is not None:
            lag = GaugeMetricFamily("trillium_stream_lag", "Records that wait to be read.", labels=["group"])
            lag.add_metric([self._group], self._counters.lag)
            yield lag


def export(counters: Counters, group: str, registry: CollectorRegistry = REGISTRY) -> Collector:
    """Show `counters` in `registry` as trillium_stream_*; returns what `registry.unregister` takes."""
    exported = _Exported(counters, group)
    registry.register(exported)
    return exported


assert {f.name for f in fields(Counters)} == {*_TEXTS, "lag"}  # noqa: S101 - a new counter needs its text
