"""Tests can't reach the world, write only below their own folder, and say why they skip."""

import os
import socket
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

pytest_plugins = [p for p in ("shared.testing.databases", "shared.testing.streams") if find_spec(p)]

# With CI=true these parts are installed before the tests: to skip them then would hide a failure.
PARTS = ("kafka", "postgres", "browser")
_connect = socket.socket.connect


def _loopback_only(self: socket.socket, address: Any) -> None:
    host = address[0] if isinstance(address, tuple) else "unix"
    if self.family != socket.AF_UNIX and host not in ("127.0.0.1", "::1", "localhost"):
        raise AssertionError(f"a test tried to reach {host}; tests use loopback only")
    _connect(self, address)


@pytest.fixture(autouse=True, scope="session")
def _no_world() -> Iterator[None]:
    socket.socket.connect = _loopback_only  # type: ignore[method-assign]
    yield
    socket.socket.connect = _connect  # type: ignore[method-assign]


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in os.environ if n.startswith("TRILLIUM_") and not n.startswith("TRILLIUM_TEST_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TRILLIUM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    parts = [part for part in PARTS if item.get_closest_marker(part)]
    if report.skipped and parts and os.environ.get("CI") == "true" and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped in CI, where {', '.join(parts)} must be there: {report.longrepr}"


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of public data sets, which may be missing on this machine."""
    folder = Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"the public data sets are not at {folder}")
    return folder


@pytest.fixture(scope="session")
def trillium() -> list[str]:
    """The command line of this checkout, as a list for subprocess."""
    return [sys.executable, "-W", "ignore", "-m", "pipelines.cli"]
