"""Tests can't reach the world, write only below their own folder, and say why they skip."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytest_plugins = ["shared.testing.databases", "shared.testing.streams"]

# With CI=true these parts are installed before the tests: to skip them then would hide a failure.
PARTS = ("kafka", "postgres", "browser")
DEMO = "test_demo.py"  # files of this name need the demo
DEMO_S = 2300  # its three trainings, in fp32 and beside another test process
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


@pytest.fixture(autouse=True)
def _own_main() -> Iterator[None]:
    # Streamlit's AppTest leaves its script behind as __main__, and a process that is spawned later
    # would run it.
    before = sys.modules["__main__"]
    yield
    sys.modules["__main__"] = before


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name != DEMO)  # what takes longest begins first
    for item in items:
        if item.path.name == DEMO:  # whichever comes first waits for the trainings
            item.add_marker(pytest.mark.timeout(DEMO_S + 100))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Share the work between processes by file, since a file's fixtures are made once per process; the files
    that need the demo count as one."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.split("::", 1)[0]
            return DEMO if file.endswith(f"/{DEMO}") else file

    return ByFile(config, log)


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


@dataclass(frozen=True)
class Demo:
    """A home in which `trillium demo --once` ran, and what it said."""

    home: Path
    code: int
    said: str


def trillium_in(home: Path, *arguments: str, timeout: float, **env: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in `home` to its end."""
    outer = {name: value for name, value in os.environ.items() if not name.startswith("TRILLIUM_")}
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "pipelines.cli", *arguments],
        cwd=Path(__file__).parents[1],
        env={**outer, "TRILLIUM_HOME": str(home), "HF_HUB_OFFLINE": "1", **env},
        capture_output=True,
        text=True,
        timeout=timeout,
    )


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """The demo, run once for all tests that need its models and tables.

    TRILLIUM_TEST_DEMO names a home to keep: the next run of the tests finds its models trained.
    """
    kept = os.environ.get("TRILLIUM_TEST_DEMO")
    home = Path(kept) if kept else tmp_path_factory.mktemp("demo")
    done = trillium_in(home, "demo", "--once", timeout=DEMO_S)
    return Demo(home, done.returncode, done.stdout + done.stderr)


@dataclass(frozen=True)
class Running:
    """A demo that waits for people: where, and how to sign in."""

    address: str
    person: str
    password: str
    already: int
    process: subprocess.Popen[str]


@pytest.fixture(scope="session")
def running_demo(demo: Demo) -> Iterator[Running]:
    """A second start in the same home, left running; it is stopped by Ctrl-C at the end."""
    assert demo.code == 0, demo.said
    outer = {name: value for name, value in os.environ.items() if not name.startswith("TRILLIUM_")}
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "pipelines.cli", "demo"],
        cwd=Path(__file__).parents[1],
        env={**outer, "TRILLIUM_HOME": str(demo.home), "HF_HUB_OFFLINE": "1", "COLUMNS": "200"},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr is not None
    said: list[str] = []
    for line in process.stderr:
        said.append(line)
        if "Ctrl-C" in line:
            break
    text = "".join(said)
    found = re.search(r"(http://\S+)\s+sign in as (\S+), password (\S+)", text)
    assert found, text
    yield Running(found[1], found[2], found[3], text.count("already there"), process)
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        process.wait(60)
    process.stderr.close()
