"""Brokers for tests, as pytest fixtures: an embedded one, and a real Apache Kafka for marker `kafka`."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.errors import TrilliumError
from shared.stream.broker import EmbeddedBroker
from shared.stream.kafka_jars import find_jars, find_java
from shared.stream.kafka_local import LocalKafka

_HOW = (
    "run `make prepare` (or `make test`), which brings Kafka's jars; or set KAFKA_HOME, or "
    "TRILLIUM_TEST_KAFKA to the host:port of a broker that may be filled with test topics"
)


def _unavailable(why: str) -> None:
    message = f"no Kafka broker: {why}; {_HOW}"
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture(scope="session")
def embedded_bootstrap() -> Iterator[str]:
    """The address of an embedded broker that all tests share: give each test topics of its own."""
    with EmbeddedBroker() as broker:
        yield broker.bootstrap


@pytest.fixture(scope="session")
def kafka_bootstrap() -> Iterator[str]:
    """The address of a real broker: TRILLIUM_TEST_KAFKA, else one that is started for this session.

    Nothing is fetched: without Kafka's jars the test skips with the way to get them.
    """
    given = os.environ.get("TRILLIUM_TEST_KAFKA")
    if given:
        yield given
        return
    try:
        # Tests have a home of their own; the jars are in that of the checkout, where make puts them.
        libs = find_jars(Path(os.environ.get("TRILLIUM_HOME") or "var"))
        find_java()
    except TrilliumError as error:
        _unavailable(error.detail)
        raise
    if libs is None:
        _unavailable("its jars are not there")
        return
    with LocalKafka(libs) as kafka:
        yield kafka.bootstrap
