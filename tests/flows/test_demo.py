"""The suite end to end, as a person runs it: the demo, what it leaves, and the same on real parts."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

pytestmark = pytest.mark.flow
ROOT = Path(__file__).parents[2]


def run(home: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    outer = {name: value for name, value in os.environ.items() if not name.startswith("TRILLIUM_")}
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "pipelines.cli", *arguments],
        cwd=ROOT,
        env={**outer, "TRILLIUM_HOME": str(home), "HF_HUB_OFFLINE": "1", **env},
        capture_output=True,
        text=True,
        timeout=600,
    )


def test_the_demo_trains_serves_and_answers_rightly(demo: Any) -> None:
    assert demo.code == 0, demo.said
    assert "all checks passed" in demo.said
    for app in ("support", "sentiment", "recommender"):
        assert f"{app}: " in demo.said


def test_a_second_start_reuses_everything(running_demo: Any) -> None:
    assert running_demo.already == 4


@pytest.mark.parametrize("app", ["support", "sentiment", "recommender"])
def test_its_bundles_are_live_and_whole(demo: Any, app: str) -> None:
    shown = run(demo.home, "artifacts", "show", app, "--json")
    assert shown.returncode == 0, shown.stderr
    findings = json.loads(run(demo.home, "doctor", "--json").stdout.splitlines()[-1])["findings"]
    assert {f["state"] for f in findings if f["part"] == f"live {app}"} == {"ok"}


def test_ctrl_c_stops_everything(running_demo: Any) -> None:
    # Others use the running demo before: browser tests come before flows by name.
    children = psutil.Process(running_demo.process.pid).children(recursive=True)
    assert len(children) >= 6
    running_demo.process.send_signal(signal.SIGINT)
    assert running_demo.process.wait(60) in (0, 130)
    _gone, alive = psutil.wait_procs(children, timeout=10)
    assert not alive


@pytest.mark.kafka
@pytest.mark.postgres
def test_the_same_on_kafka_and_postgresql(demo: Any, kafka_libs: Path) -> None:
    assert demo.code == 0, demo.said
    done = run(demo.home, "demo", "--once", "--real", KAFKA_HOME=str(kafka_libs.parent))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "starting Apache Kafka" in done.stderr
    assert "all checks passed" in done.stderr


def test_afterwards_serve_and_key_work_without_further_settings(demo: Any) -> None:
    from services.support.client import SupportClient

    made = run(demo.home, "key", "create", "--name", "machine", "--role", "support:agent", "--json")
    key = json.loads(made.stdout.splitlines()[-1])["key"]
    outer = {name: value for name, value in os.environ.items() if not name.startswith("TRILLIUM_")}
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "pipelines.cli", "serve", "support", "--port", "0"],
        cwd=ROOT,
        env={**outer, "TRILLIUM_HOME": str(demo.home), "TRILLIUM_LOGS__JSON_LINES": "true"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as server:
        assert server.stdout is not None
        address = next(word for line in server.stdout for word in line.split() if "http://" in word)
        address = address[address.index("http://") :].strip('",')
        with SupportClient(address, token=key) as client:
            answer = client.ask("How do I get a new card after a theft?")
        server.send_signal(signal.SIGTERM)
        rest = server.stdout.read()
        assert server.wait(30) == 0, rest
    assert answer.citations
    assert answer.model
    assert answer.model.startswith("support@")
