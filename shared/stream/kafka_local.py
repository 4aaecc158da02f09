"""A real Apache Kafka broker on this machine: one KRaft node, 512 MB of heap, a folder of its own."""

import contextlib
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from shared.errors import Conflict, TrilliumError, Unavailable
from shared.stream.cluster import describe
from shared.stream.kafka_jars import find_java

HEAP = ("-Xms256m", "-Xmx512m")
READY_S = 60.0
STOP_S = 25.0  # the keeper kills after 20
TRIES = 3  # a KRaft start can time out on a busy machine
POLL_S = 0.2

# Retention looks at a record's arrival, which is what its timestamp says here.
PROPERTIES = """process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={data}
num.partitions=4
default.replication.factor=1
log.retention.hours=168
offsets.topic.num.partitions=2
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
auto.create.topics.enable=false
"""


class LocalKafka:
    """Starts a broker on entry and stops it cleanly on exit; it ends when this process dies, too.

    `libs` is a folder of jars (`prepare` or `find_jars` gives it). Without `folder` all is kept in a
    temporary one and gone at the end; with it the records and the cluster id stay for the next
    start. `port` 0 takes a free one.
    """

    def __init__(self, libs: Path, folder: Path | None = None, port: int = 0) -> None:
        self._libs, self._folder, self._port = libs, folder, port
        self._own: tempfile.TemporaryDirectory[str] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self.bootstrap = ""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> str:
        """Start it, wait until it answers, and return its host:port.

        Raises Conflict when `port` is taken, and Unavailable with the end of its log after 3 tries.
        """
        java = find_java()
        if self._port and not _is_free(self._port):
            raise Conflict(f"port {self._port} is in use; stop what uses it, or choose another with --port")
        for attempt in range(1, TRIES + 1):
            try:
                self._launch(java)
                return self.bootstrap
            except Unavailable:
                self._end()
                if attempt == TRIES:
                    self.stop()
                    raise
            except BaseException:
                self.stop()
                raise
        raise AssertionError("the loop returns or raises")

    def stop(self) -> None:
        """Stop it cleanly. Stopping twice is no error."""
        self._end()
        own, self._own = self._own, None
        if own is not None:
            own.cleanup()

    def wait(self) -> int:
        """Return the broker's exit code when it has ended."""
        if self._process is None:
            raise Unavailable("the broker is not running; start it first")
        return self._process.wait()

    @property
    def log(self) -> Path:
        """What the broker says."""
        return self._place() / "kafka.log"

    def _place(self) -> Path:
        if self._folder is not None:
            self._folder.mkdir(parents=True, exist_ok=True)
            return self._folder.absolute()
        if self._own is None:
            self._own = tempfile.TemporaryDirectory(prefix="trillium-kafka-")
        return Path(self._own.name)

    def _launch(self, java: str) -> None:
        port, controller = self._port or _free_port(), _free_port()
        place = self._place()
        properties = place / "server.properties"
        properties.write_text(
            PROPERTIES.format(port=port, controller=controller, data=place / "data"), "utf-8"
        )
        classpath = str(self._libs / "*")
        self._format(java, classpath, properties)
        command = [java, *HEAP, "-cp", classpath, "kafka.Kafka", str(properties)]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-W", "ignore", "-m", "shared.stream.keeper", *command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C reaches only us, and we stop it cleanly
            )
        self.bootstrap = f"127.0.0.1:{port}"
        self._wait_until_ready()

    def _format(self, java: str, classpath: str, properties: Path) -> None:
        tool = [java, "-Xmx128m", "-XX:TieredStopAtLevel=1", "-cp", classpath, "kafka.tools.StorageTool"]
        if (properties.parent / "data" / "meta.properties").exists():
            return
        cluster = _output([*tool, "random-uuid"]).split()[-1]
        _output([*tool, "format", "--standalone", "-t", cluster, "-c", str(properties)])

    def _wait_until_ready(self) -> None:
        until = time.monotonic() + READY_S
        while self._process is not None and self._process.poll() is None and time.monotonic() < until:
            with contextlib.suppress(OSError, TrilliumError):
                host, _, port = self.bootstrap.rpartition(":")
                socket.create_connection((host, int(port)), timeout=1).close()
                describe(self.bootstrap)
                return
            time.sleep(POLL_S)
        tail = self.log.read_text("utf-8", "replace").splitlines()[-12:]
        raise Unavailable("Kafka did not start; its log ends with:\n" + "\n".join(tail))

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdin:
            process.stdin.close()


def _output(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=READY_S)
    if done.returncode:
        raise Unavailable(f"Kafka's storage could not be prepared: {(done.stdout + done.stderr)[-600:]}")
    return done.stdout


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
