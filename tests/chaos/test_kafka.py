"""Exactly-once effects on a real broker and PostgreSQL, with workers that are killed and frozen."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.testing import chaos
from shared.testing.chaos import World

pytestmark = [pytest.mark.kafka, pytest.mark.postgres]
ITEMS = 2_000
_numbers = itertools.count(1)


@pytest.fixture
def world(kafka_bootstrap: str, postgres_url: str, tmp_path: Path) -> Iterator[World]:
    with World(
        kafka_bootstrap, postgres_url, tmp_path, f"chaos.run{next(_numbers)}-{tmp_path.name}", ITEMS
    ) as made:
        yield made


def test_a_worker_killed_in_its_batch_loses_and_doubles_nothing(world: World) -> None:
    seen = chaos.killed_in_batch(world, kills=2)
    assert seen.kills == 2
    assert seen.again > 0, "no record was delivered again: this proved nothing"


def test_a_worker_killed_between_the_two_commits_counts_nothing_twice(world: World) -> None:
    seen = chaos.killed_between_commits(world, kills=2)
    assert seen.kills == 2
    assert seen.again > 0, "no record was delivered again: this proved nothing"
    assert seen.fenced > 0, "the fence had nothing to do: this proved nothing"


def test_one_worker_two_workers_and_one_again_share_the_work(world: World) -> None:
    seen = chaos.rebalanced(world, rounds=1, records=15)
    assert seen.kills == 1
    assert seen.again > 0, "no record was delivered again: this proved nothing"


def test_a_frozen_worker_that_wakes_up_writes_nothing_twice(world: World) -> None:
    seen = chaos.frozen(world, times=1)
    assert seen.again > 0, "no record was delivered again: this proved nothing"
    assert seen.fenced > 0, "the fence had nothing to do: this proved nothing"
