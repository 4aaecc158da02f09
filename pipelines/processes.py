"""Processes that start together, are waited for, and stop together in reverse order."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType

from shared.errors import Unavailable

STOP_S = 15.0  # a service may finish its running requests (10 s) before it is killed
POLL_S = 0.1


class Processes:
    """Trillium commands as child processes, each with a log file in `logs`.

    Use it as a context: leaving it stops all of them, the last started first, with SIGTERM and after
    15 seconds with SIGKILL. A child ends by itself when this process dies.
    """

    def __init__(self, logs: Path, environment: Mapping[str, str]) -> None:
        self._logs = logs
        self._environment = dict(environment)
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> "Processes":
        self._logs.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name in reversed(list(self._running)):
            self.stop(name)

    def start(self, name: str, *arguments: str) -> None:
        """Start `trillium ARGUMENTS` as `name`; its output goes to `logs/name.log`."""
        with (self._logs / f"{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen(
                [sys.executable, "-W", "ignore", "-m", "pipelines.attached", *arguments],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env={**os.environ, **self._environment},
                start_new_session=True,  # Ctrl-C reaches this process alone, which then stops the others
            )

    def wait(self, name: str, ready: Callable[[], bool], timeout_s: float = 60.0) -> None:
        """Return when `ready()`; raises Unavailable with the log's end if the child ends or time is up."""
        until = time.monotonic() + timeout_s
        while not ready():
            if not self.alive(name):
                raise Unavailable(f"{name} ended before it was ready; its log ends with:\n{self.tail(name)}")
            if time.monotonic() > until:
                raise Unavailable(
                    f"{name} was not ready after {timeout_s:.0f} s; its log ends with:\n{self.tail(name)}"
                )
            time.sleep(POLL_S)

    def alive(self, name: str) -> bool:
        """Whether child `name` still runs."""
        return self._running[name].poll() is None

    def check(self) -> None:
        """Raise Unavailable when a child has ended."""
        for name in self._running:
            if not self.alive(name):
                raise Unavailable(f"{name} has ended; its log ends with:\n{self.tail(name)}")

    def tail(self, name: str, lines: int = 12) -> str:
        """Return the last lines of a child's log."""
        text = (self._logs / f"{name}.log").read_text("utf-8", "replace")
        return "\n".join(text.splitlines()[-lines:])

    def stop(self, name: str) -> int:
        """Stop child `name` and return its exit code; one that has ended already is no error."""
        child = self._running.pop(name)
        if child.poll() is None:
            child.send_signal(signal.SIGTERM)
        try:
            code = child.wait(STOP_S)
        except subprocess.TimeoutExpired:
            child.kill()
            code = child.wait()
        if child.stdin:
            child.stdin.close()
        return code
