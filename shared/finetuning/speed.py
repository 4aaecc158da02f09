"""How quick engines are beside each other: measured in turns, so that a busy machine slows all alike."""

import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from shared.models.batching import IntArray
from shared.models.engines import Engine

Batch = tuple[IntArray, IntArray, IntArray | None]
ONE_BY_ONE = 8  # single texts in a turn


class Speed(NamedTuple):
    """Medians: `latency_ms` of one text alone, `batch_ms` of one text in a batch."""

    latency_ms: float
    batch_ms: float


def measure(
    engines: Mapping[str, Engine], singles: Sequence[Batch], whole: Batch, *, seconds: float
) -> dict[str, Speed]:
    """Return the speed of each engine over `singles` (batches of one) and `whole`, in about `seconds` in all.

    Each has at least five turns after two to warm up. Tokenising is not counted: it is the same for all.
    """
    for engine in engines.values():
        for batch in (*singles[:4], whole, whole):
            engine.run(*batch)
    alone: dict[str, list[float]] = {name: [] for name in engines}
    together: dict[str, list[float]] = {name: [] for name in engines}
    end, turn = time.monotonic() + seconds, 0
    while turn < 5 or time.monotonic() < end:
        for name, engine in engines.items():
            for at in range(ONE_BY_ONE):
                alone[name].append(_timed(engine, singles[(turn * ONE_BY_ONE + at) % len(singles)]))
            together[name].append(_timed(engine, whole) / len(whole[0]))
        turn += 1
    return {
        name: Speed(float(np.median(alone[name])) * 1e3, float(np.median(together[name])) * 1e3)
        for name in engines
    }


def _timed(engine: Engine, batch: Batch) -> float:
    start = time.perf_counter()
    engine.run(*batch)
    return time.perf_counter() - start


def thread_counts(cores: int) -> list[int]:
    """Return 1, 2, 4, … below `cores`, and `cores`."""
    return sorted({*(2**power for power in range(cores.bit_length()) if 2**power < cores), cores})
