"""Brokers for tests, as pytest fixtures: an embedded one, and a real Apache Kafka for marker `kafka`."""

from collections.abc import Iterator

import pytest

from shared.stream.broker import EmbeddedBroker


@pytest.fixture(scope="session")
def embedded_bootstrap() -> Iterator[str]:
    """The address of an embedded broker that all tests share: give each test topics of its own."""
    with EmbeddedBroker() as broker:
        yield broker.bootstrap
