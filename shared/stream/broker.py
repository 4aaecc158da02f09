"""The embedded broker in its own process: `python -m shared.stream.broker [--topic NAME=PARTITIONS]`.

It speaks Kafka's protocol, keeps everything in memory and is bounded (5 MiB or 100,000 records a
partition): for the demo and for fast tests only. Its address is the first line on stdout.
"""

import argparse
import os
import secrets
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Self

from shared.errors import TrilliumError, Unavailable
from shared.stream.cluster import MARKER
from shared.stream.mock import DEFAULT_PARTITIONS, MockCluster

STOP_S = 5.0


class EmbeddedBroker:
    """Starts the broker's process on entry and stops it on exit; it also ends when this process dies.

    `topics` are made with `partitions` each; others come into being at their first use with 4.
    """

    def __init__(self, topics: Sequence[str] = (), partitions: int = DEFAULT_PARTITIONS) -> None:
        self._topics = dict.fromkeys(topics, partitions)
        self._process: subprocess.Popen[str] | None = None
        self.bootstrap = ""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The number of the broker's process."""
        if self._process is None:
            raise Unavailable("the embedded broker is not running; start it first")
        return self._process.pid

    def start(self) -> str:
        """Start it and return its host:port. Raises Unavailable with what its process said."""
        arguments = [f"--topic={name}={partitions}" for name, partitions in self._topics.items()]
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "shared.stream.broker", "--attached", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C reaches only us, and we stop it last
        )
        self.bootstrap = (self._process.stdout.readline() if self._process.stdout else "").strip()
        if not self.bootstrap:
            self.stop()
            raise Unavailable("the embedded broker did not start; what it said is above")
        return self.bootstrap

    def stop(self) -> None:
        """Stop it; all its records are gone. Stopping twice is no error."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe:
                pipe.close()


def serve(topics: Mapping[str, int], started: Callable[[str], None], ended: threading.Event) -> None:
    """Run the broker in this process until `ended`; `started` is told its host:port.

    Ended by SIGTERM or SIGINT as well, when called in the main thread.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    mock = MockCluster({f"{MARKER}{secrets.token_hex(8)}": 1, **topics})
    started(mock.bootstrap)
    while not ended.wait(0.5):  # a wait without a limit would not let signals through
        pass
    mock.close()


def _topic(text: str) -> tuple[str, int]:
    name, _, partitions = text.partition("=")
    return name, int(partitions or DEFAULT_PARTITIONS)


def _end_with_parent(ended: threading.Event) -> None:
    while os.read(0, 1024):
        pass
    ended.set()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the broker until it is told to stop; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m shared.stream.broker", description=__doc__)
    parser.add_argument("--topic", action="append", type=_topic, default=[], metavar="NAME=PARTITIONS")
    parser.add_argument("--attached", action="store_true", help="end when standard input is closed")
    given = parser.parse_args(arguments)
    ended = threading.Event()
    if given.attached:
        threading.Thread(target=_end_with_parent, args=[ended], daemon=True).start()
    try:
        serve(dict(given.topic), lambda address: print(address, flush=True), ended)  # noqa: T201
    except TrilliumError as error:
        print(f"error: {error.detail}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
