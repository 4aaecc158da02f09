"""Workers that are killed, frozen and joined by others, on a real broker and PostgreSQL.

Each scenario feeds items of its own, lets workers come to harm, lets one finish, and returns what it
saw after checking that every item was counted once.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import func, select

from shared.stream.cluster import describe
from shared.stream.publisher import Publisher
from shared.stream.records import Partition
from shared.stream.topics import end_offsets, ensure_topics
from shared.testing.counting import TABLES, Counted, Total, create

PATIENCE_S = 120.0
POLL_S = 0.02


@dataclass(frozen=True)
class Seen:
    """What a scenario went through: records that were read more than once, fenced ones, and its time."""

    items: int
    again: int
    fenced: int
    kills: int
    seconds: float


class World:
    """One topic with `items` records of different ids in 4 partitions, and an empty counting database."""

    def __init__(self, bootstrap: str, url: str, folder: Path, topic: str, items: int) -> None:
        self.bootstrap, self.url, self.topic, self.items = bootstrap, url, topic, items
        self.deliveries = folder / f"{topic}.deliveries"
        self.deliveries.touch()
        self.fenced = 0
        self.kills = 0
        self._started = time.monotonic()
        self._workers: list[subprocess.Popen[str]] = []
        self._db = create(url)
        ensure_topics(bootstrap, [topic], 4)
        with Publisher(bootstrap) as publisher:
            for number in range(items):
                publisher.send(topic, f"id-{number}", {"id": f"id-{number}"})

    def __enter__(self) -> "World":
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            if worker.poll() is None:
                worker.kill()
                worker.wait()
            if worker.stdout:
                worker.stdout.close()
        self._db.close()

    def worker(self, *options: str) -> subprocess.Popen[str]:
        """Start a worker that runs until all partitions stand at their end."""
        common = ["--bootstrap", self.bootstrap, "--url", self.url, "--topic", self.topic]
        common += ["--group", f"{self.topic}.readers", "--deliveries", str(self.deliveries)]
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "shared.testing.counting", *common, *options],
            stdout=subprocess.PIPE,
            text=True,
        )
        self._workers.append(process)
        return process

    def kill_in_batch(self, worker: subprocess.Popen[str]) -> None:
        """Kill `worker` with SIGKILL while it prepares a batch that it has read."""
        self.wait_for_batches(worker)
        worker.kill()
        self.killed(worker)

    def killed(self, worker: subprocess.Popen[str]) -> None:
        """Wait for a worker that must end by SIGKILL."""
        code = worker.wait(PATIENCE_S)
        assert code == -signal.SIGKILL, f"the worker ended with {code}; it should have been killed"
        self.kills += 1

    def finish(self, worker: subprocess.Popen[str]) -> Mapping[str, int]:
        """Wait for a worker that must end by itself; return its counters."""
        out, _ = worker.communicate(timeout=PATIENCE_S)
        assert worker.returncode == 0, f"the worker ended with {worker.returncode}"
        counters: dict[str, int] = json.loads(out.splitlines()[-1])
        self.fenced += counters["fenced"]
        return counters

    def wait_for_batches(self, worker: subprocess.Popen[str], more: int = 2) -> None:
        """Return when `worker` has begun `more` further batches; it must not end before."""
        before = self._begun()[worker.pid]

        def begun() -> bool:
            ended = worker.poll()
            enough = self._begun()[worker.pid] >= before + more
            assert enough or ended is None, f"the worker ended with {ended} before it was harmed"
            return enough

        self.until(begun, f"{more} more batches of a worker")

    def wait_until_written(self, worker: subprocess.Popen[str]) -> None:
        """Return when others have written all that `worker` has read."""
        read: dict[int, int] = {}
        for line in self._lines():
            if line[0] == str(worker.pid) and len(line) == 3:
                read[int(line[1])] = max(read.get(int(line[1]), 0), int(line[2]))
        cluster = describe(self.bootstrap).id

        def written() -> bool:
            with self._db.read() as session:
                nexts = TABLES.positions(session, cluster, [self.topic])
            return all(nexts.get(Partition(self.topic, p), 0) > offset for p, offset in read.items())

        self.until(written, "the others to write what a frozen worker holds")

    def until(self, true: Callable[[], bool], what: str) -> None:
        """Poll until `true()`; fails with `what` when it takes too long."""
        limit = time.monotonic() + PATIENCE_S
        while not true():
            assert time.monotonic() < limit, f"waited {PATIENCE_S:.0f} s for {what}"
            time.sleep(POLL_S)

    def total(self) -> int:
        """Return how many items were counted until now."""
        with self._db.read() as session:
            return session.scalar(select(Total.value)) or 0

    def check(self) -> Seen:
        """Assert that nothing was lost and nothing counted twice, and return what it took."""
        with self._db.read() as session:
            ids = session.scalar(select(func.count()).select_from(Counted))
            wrong = session.scalar(select(func.count()).where(Counted.times != 1))
            rows = TABLES.positions(session, describe(self.bootstrap).id, [self.topic])
        assert (ids, self.total(), wrong) == (self.items, self.items, 0)
        assert rows == end_offsets(self.bootstrap, self.topic)
        seconds = time.monotonic() - self._started
        return Seen(self.items, self._again(), self.fenced, self.kills, round(seconds, 1))

    def _lines(self) -> list[list[str]]:
        # The last line may be half written.
        return [line.split() for line in self.deliveries.read_text("utf-8").split("\n")[:-1]]

    def _begun(self) -> Counter[int]:
        return Counter(int(line[0]) for line in self._lines() if line[1] == "preparing")

    def _again(self) -> int:
        times = Counter((line[1], line[2]) for line in self._lines() if len(line) == 3)
        return sum(n - 1 for n in times.values())


def killed_in_batch(world: World, kills: int, pace_s: float = 0.1) -> Seen:
    """Workers die by SIGKILL: between reading a batch and writing it, and inside the transaction."""
    for number in range(kills):
        if number % 2:
            world.killed(world.worker("--die-in-write", "2"))
        else:
            world.kill_in_batch(world.worker("--pace", str(pace_s)))
    world.finish(world.worker())
    return world.check()


def killed_between_commits(world: World, kills: int) -> Seen:
    """Workers die after the database's commit and before Kafka's; then one trusts Kafka's offset."""
    for _ in range(kills):
        world.killed(world.worker("--die-in-commit", "3"))
    world.finish(world.worker("--trust-kafka"))
    return world.check()


def rebalanced(world: World, rounds: int, pace_s: float = 0.1, records: int = 50) -> Seen:
    """One worker, then two, then one again: in turn by a clean stop and by SIGKILL in a batch.

    The work must outlast the start of the second worker: few `records` a batch make it longer.
    """
    options = ("--pace", str(pace_s), "--records", str(records))
    first = world.worker(*options)
    for number in range(rounds):
        world.wait_for_batches(first)
        second = world.worker(*options)
        world.wait_for_batches(second)
        world.wait_for_batches(first)
        if number % 2:
            first.send_signal(signal.SIGTERM)
            world.finish(first)
        else:
            world.kill_in_batch(first)
        first = second
    world.finish(first)
    return world.check()


def frozen(world: World, times: int, pace_s: float = 0.3) -> Seen:
    """Workers sleep through their session's end with a batch in hand, while another does the work."""
    for _ in range(times):
        zombie = world.worker("--pace", str(pace_s))
        world.wait_for_batches(zombie)
        os.kill(zombie.pid, signal.SIGSTOP)
        living = world.worker()
        world.wait_until_written(zombie)
        living.send_signal(signal.SIGTERM)
        world.finish(living)
        os.kill(zombie.pid, signal.SIGCONT)
        zombie.send_signal(signal.SIGTERM)  # it ends after the batch that it holds
        world.finish(zombie)
    world.finish(world.worker())
    return world.check()
