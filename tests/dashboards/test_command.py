"""`trillium dashboard`: refused where it must be, and served from any directory."""

import os
import re
import signal
import socket
import subprocess
from pathlib import Path

import httpx2

import dashboards

ROOT = Path(dashboards.__file__).parents[1]


def _run(trillium: list[str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [*trillium, "dashboard", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def test_a_port_in_use_is_a_conflict(trillium: list[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = _run(trillium, "--port", str(port))
    assert ended.returncode == 5
    assert f"port {port} on 127.0.0.1 is in use" in ended.stderr


def test_an_unknown_application_is_a_usage_error(trillium: list[str]) -> None:
    ended = _run(trillium, "weather")
    assert ended.returncode == 2
    assert "there is no application 'weather'" in ended.stderr


def test_it_serves_from_any_directory_and_stops(trillium: list[str], tmp_path: Path) -> None:
    command = [*trillium, "dashboard", "support", "--port", "0"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True
    ) as running:
        try:
            assert running.stdout is not None
            line = running.stdout.readline()
            found = re.search(r"http://127\.0\.0\.1:\d+", line)
            assert found, line
            with httpx2.Client(base_url=found[0], headers={"accept": "text/html"}, timeout=20) as browser:
                assert browser.get("/").headers["location"] == "/login"
                assert "Sign in" in browser.get("/login").text
                assert browser.get("/app/static/inter-latin.woff2").content[:4] == b"wOF2"
                signed_in = browser.get("/", headers={"cookie": "trillium_session=any"})
                assert "<title>" in signed_in.text
        finally:
            running.send_signal(signal.SIGTERM)
            running.wait(15)
    assert running.returncode in (0, -signal.SIGTERM)
