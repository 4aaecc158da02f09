"""librdkafka's mock cluster, out of the confluent-kafka wheel: a Kafka broker in this process's memory."""

import ctypes
import importlib.metadata
from collections.abc import Mapping
from ctypes import c_char_p, c_int, c_int32, c_size_t, c_void_p
from typing import Any

from shared.errors import Unavailable

PARTITION_BYTES = 5 * 2**20  # rdkafka_mock.c: beyond either limit the oldest records are dropped silently
PARTITION_RECORDS = 100_000
DEFAULT_PARTITIONS = 4  # of a topic that is made by its first use
REBALANCE_MS = 100  # 3,000 by default; nobody waits for more members of a test


def _library() -> ctypes.CDLL:
    try:
        files = importlib.metadata.files("confluent-kafka") or []
        return ctypes.CDLL(str(next(f.locate() for f in files if "librdkafka" in f.name)))
    except (importlib.metadata.PackageNotFoundError, StopIteration, OSError) as error:
        raise Unavailable(
            "the embedded broker needs the confluent-kafka package; pip install 'trillium-suite[demo]', or "
            "use a real broker (`make kafka`) through TRILLIUM_KAFKA__BOOTSTRAP"
        ) from error


class MockCluster:
    """One broker on a free port of 127.0.0.1. It lives until `close` or the end of the process.

    `topics` maps a name to its number of partitions. Topics that are not named are made at their
    first use, with 4 partitions.
    """

    def __init__(self, topics: Mapping[str, int]) -> None:
        self._library = _library()
        self._client = self._new_client()
        self._mock = self._call("mock_cluster_new", c_void_p, c_void_p, c_int)(self._client, 1)
        if not self._mock:
            raise Unavailable("the embedded broker could not open a port on 127.0.0.1")
        self._call("mock_group_initial_rebalance_delay_ms", None, c_void_p, c_int32)(self._mock, REBALANCE_MS)
        create = self._call("mock_topic_create", c_int, c_void_p, c_char_p, c_int, c_int)
        for name, partitions in topics.items():
            create(self._mock, name.encode(), partitions, 1)

    @property
    def bootstrap(self) -> str:
        """Its host:port."""
        address: bytes = self._call("mock_cluster_bootstraps", c_char_p, c_void_p)(self._mock)
        return address.decode()

    def close(self) -> None:
        """Close the port and forget all records."""
        self._call("mock_cluster_destroy", None, c_void_p)(self._mock)
        self._call("destroy", None, c_void_p)(self._client)

    def _call(self, name: str, result: Any, *types: Any) -> Any:
        # Pointers are 64 bit: without declared types ctypes would cut them to 32.
        function = getattr(self._library, f"rd_kafka_{name}")
        function.restype, function.argtypes = result, types
        return function

    def _new_client(self) -> Any:
        why = ctypes.create_string_buffer(512)
        conf = self._call("conf_new", c_void_p)()
        set_conf = self._call("conf_set", c_int, c_void_p, c_char_p, c_char_p, c_char_p, c_size_t)
        set_conf(conf, b"log_level", b"2", why, 512)  # it would warn that this client has no broker
        client = self._call("new", c_void_p, c_int, c_void_p, c_char_p, c_size_t)(0, conf, why, 512)
        if not client:
            raise Unavailable(f"the embedded broker could not start: {why.value.decode()}")
        return client
