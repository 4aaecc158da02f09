"""`trillium broker` and the local Kafka commands, run as a person runs them."""

import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from shared.errors import Conflict
from shared.stream.cluster import describe


def test_the_embedded_broker_says_how_to_use_it_and_stops_on_a_signal(trillium: list[str]) -> None:
    with subprocess.Popen([*trillium, "broker"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = ""
        while "export" not in said:
            said = process.stdout.readline()
        assert describe(said.rpartition("=")[2].strip()).embedded
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 0


@pytest.mark.kafka
def test_a_port_in_use_is_one_clear_error(trillium: list[str], kafka_libs: Path) -> None:
    env = {**os.environ, "KAFKA_HOME": str(kafka_libs.parent)}
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            [*trillium, "kafka", "start", "--port", port],
            capture_output=True,
            text=True,
            check=False,
            env=env,
        )
    assert done.returncode == Conflict.exit_code
    assert f"port {port} is in use" in done.stderr
