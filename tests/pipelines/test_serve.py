"""`trillium serve` as an operator meets it."""

import json
import os
import signal
import socket
import sqlite3
import subprocess
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from shared.errors import NotFound
from shared.web.client import ServiceClient

APP = "recommender"


@contextmanager
def served(trillium, *arguments):
    process = subprocess.Popen(
        [*trillium, "serve", APP, "--port", "0", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        yield process, process.stdout.readline().strip().rsplit(" ", 1)[-1]
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_service_starts_without_a_bundle_says_so_and_stops_with_its_requests_answered(trillium):
    with served(trillium) as (process, address), ServiceClient(address) as client:
        assert client.get("/healthz") == {"status": "ok"}
        assert f"trillium index {APP}" in client.ready() or f"trillium train {APP}" in client.ready()
        with pytest.raises(NotFound):
            client.get("/nothing")
        at = urlsplit(address)
        body = json.dumps({"name": "nobody", "password": "wrong password"}).encode()
        with socket.create_connection((at.hostname, at.port)) as slow:
            slow.sendall(
                b"POST /v1/sessions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                b"Content-Length: %d\r\n\r\n" % len(body)
            )
            slow.sendall(body[:5])
            client.get("/healthz")  # the half request has arrived before this one
            process.send_signal(signal.SIGTERM)
            while "stopping" not in (client.ready() or ""):
                pass
            slow.sendall(body[5:])
            answer = b""
            while b"\r\n\r\n" not in answer:
                answer += slow.recv(10_000)
            assert answer.startswith(b"HTTP/1.1 401"), answer
        assert process.wait(timeout=30) == 0


def test_a_port_in_use_is_a_conflict_before_anything_is_loaded(trillium):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = subprocess.run([*trillium, "serve", APP, "--port", port], capture_output=True, text=True)
    assert done.returncode == 5
    assert done.stderr.strip().splitlines() == [
        f"error: port {port} of 127.0.0.1 is in use; stop what uses it, or choose another with --port"
    ]


def test_an_old_schema_is_a_conflict_that_names_migrate(trillium):
    folder = Path(os.environ["TRILLIUM_HOME"]) / "db"
    folder.mkdir(parents=True)
    with sqlite3.connect(folder / "accounts.sqlite") as old:
        old.execute("CREATE TABLE people (name TEXT)")
    old.close()
    done = subprocess.run([*trillium, "serve", APP, "--port", "0"], capture_output=True, text=True)
    assert (done.returncode, "trillium migrate" in done.stderr) == (5, True), done.stderr


@pytest.mark.parametrize(
    ("arguments", "code"), [(["nope"], 2), ([APP, "--host", "203.0.113.1"], 2), ([APP, "--port", "70000"], 2)]
)
def test_what_can_not_be_served(trillium, arguments, code):
    done = subprocess.run([*trillium, "serve", *arguments], capture_output=True, text=True)
    assert done.returncode == code, done.stderr
