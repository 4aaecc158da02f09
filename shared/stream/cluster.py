"""Which broker answers at an address, and how its clients must be set."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaConnectionError, KafkaError, KafkaTimeoutError

from shared.errors import Unavailable, UsageError

# The embedded broker tells its own id as the name of a topic: librdkafka's mock cluster gives itself an id
# made from a memory address, which may come again in the next process.
MARKER = "trillium.embedded."
_MOCK = "mockCluster"
# The mock writes ApiVersions v3 in a way that kafka-python can't read; real brokers 2.1 to 4.x speak 2.3 too.
_COMMON = (2, 3)
BOOTSTRAP_MS = 8_000
KNOCK_S = 3.0
_NOBODY = (
    "no Kafka broker answers at {where} ({why}); start it (`trillium broker` or `make kafka`) or correct "
    "TRILLIUM_KAFKA__BOOTSTRAP"
)


@dataclass(frozen=True)
class Cluster:
    """A broker's identity. An embedded one has a new id at each start; a real one keeps its id."""

    id: str
    embedded: bool


def addresses(bootstrap: str | None) -> list[str]:
    """Return `bootstrap` ("host:port[,host:port]") as a list.

    Raises Unavailable when it is not set, and UsageError for another form.
    """
    if not bootstrap:
        raise Unavailable(
            "no Kafka broker is configured; start one with `trillium broker` (for trying) or `make kafka` "
            "and set TRILLIUM_KAFKA__BOOTSTRAP to its host:port"
        )
    found = [part.strip() for part in bootstrap.split(",")]
    for address in found:
        host, _, port = address.rpartition(":")
        if not host or not port.isdigit() or not 0 < int(port) < 65536:
            raise UsageError(f"{address!r} is no broker address; set TRILLIUM_KAFKA__BOOTSTRAP to host:port")
    return found


@contextmanager
def reaching(bootstrap: str) -> Iterator[None]:
    """Raise Unavailable that says what to do when the broker does not answer inside."""
    try:
        yield
    except (KafkaTimeoutError, KafkaConnectionError) as error:
        raise Unavailable(_NOBODY.format(where=bootstrap, why=error), retry_after=5) from error
    except KafkaError as error:
        if not error.retriable:
            raise
        raise Unavailable(f"the Kafka broker at {bootstrap} is not ready: {error}", retry_after=5) from error


@contextmanager
def admin(bootstrap: str, **options: Any) -> Iterator[KafkaAdminClient]:
    """Open an admin client for a few requests; raises Unavailable when nobody answers."""
    with reaching(bootstrap):
        client = KafkaAdminClient(
            bootstrap_servers=addresses(bootstrap), bootstrap_timeout_ms=BOOTSTRAP_MS, **options
        )
        try:
            yield client
        finally:
            client.close()


def describe(bootstrap: str | None) -> Cluster:
    """Ask who answers at `bootstrap`. Raises Unavailable or UsageError."""
    where = ",".join(addresses(bootstrap))
    _knock(where)
    with admin(where, api_version=_COMMON) as client:
        cluster_id = str(client.describe_cluster()["cluster_id"])
        if not cluster_id.startswith(_MOCK):
            return Cluster(cluster_id, embedded=False)
        marks = [name.removeprefix(MARKER) for name in client.list_topics() if name.startswith(MARKER)]
    return Cluster(f"embedded-{marks[0] if marks else cluster_id}", embedded=True)


def _knock(where: str) -> None:
    """Raise Unavailable unless one of the addresses takes a connection.

    A client of kafka-python that finds nobody waits for its whole time-out and leaves a socket open.
    """
    why = ""
    for address in where.split(","):
        host, _, port = address.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=KNOCK_S).close()
            return
        except OSError as error:
            why = str(error)
    raise Unavailable(_NOBODY.format(where=where, why=why), retry_after=5)


def options_for(cluster: Cluster) -> dict[str, Any]:
    """Return the keyword arguments that every client of this broker needs besides its address."""
    return {
        "bootstrap_timeout_ms": BOOTSTRAP_MS,
        **({"api_version": _COMMON} if cluster.embedded else {}),
    }


def client_options(bootstrap: str | None) -> dict[str, Any]:
    """Return `bootstrap_servers` and all else that a kafka-python client of this broker needs."""
    return {"bootstrap_servers": addresses(bootstrap), **options_for(describe(bootstrap))}
