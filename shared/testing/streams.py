"""Brokers for tests, as pytest fixtures: an embedded one, and a real Apache Kafka for marker `kafka`."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from shared.errors import TrilliumError
from shared.stream.broker import EmbeddedBroker
from shared.stream.kafka_jars import find_jars, find_java
from shared.stream.kafka_local import LocalKafka

# Each test has a home of its own; the jars are in that of the checkout, where make puts them.
_HOME = Path(os.environ.get("TRILLIUM_HOME") or "var").absolute()
_HOW = (
    "run `make prepare` (or `make test`), which brings Kafka's jars; or set KAFKA_HOME, or "
    "TRILLIUM_TEST_KAFKA to the host:port of a broker that may be filled with test topics"
)


def _unavailable(why: str) -> NoReturn:
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
def kafka_libs() -> Path:
    """The folder of Kafka's jars. Nothing is fetched: without them the test skips and says how."""
    try:
        libs = find_jars(_HOME)
        find_java()
    except TrilliumError as error:
        _unavailable(error.detail)
    if libs is None:
        _unavailable("its jars are not there")
    return libs


@pytest.fixture(scope="session")
def kafka_bootstrap(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a real broker: TRILLIUM_TEST_KAFKA, else one that is started for this session."""
    given = os.environ.get("TRILLIUM_TEST_KAFKA")
    if given:
        yield given
        return
    with LocalKafka(request.getfixturevalue("kafka_libs")) as kafka:
        yield kafka.bootstrap
