"""The dashboards' own services: fakes that answer as the contracts say, on free loopback ports."""

import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn

sys.path.insert(0, str(Path(__file__).parent))  # fake_services is run as a script too
import fake_services

from dashboards import connect
from shared.settings import Settings, load_settings

APPS = ("support", "sentiment", "recommender")


class Served:
    """One fake in a thread; `app.state.fail` breaks a route of it."""

    def __init__(self, name: str) -> None:
        self.app = fake_services.create(name)
        self.socket = socket.socket()
        self.socket.bind(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        options = uvicorn.Config(self.app, log_level="error", ws="none", lifespan="off")
        self.server = uvicorn.Server(options)
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.socket]}, daemon=True)

    def start(self) -> None:
        self.thread.start()
        while not self.server.started:
            time.sleep(0.01)

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(10)
        self.socket.close()


@pytest.fixture(scope="session")
def served() -> Iterator[dict[str, Served]]:
    fakes = {name: Served(name) for name in APPS}
    for fake in fakes.values():
        fake.start()
    yield fakes
    for fake in fakes.values():
        fake.stop()


@pytest.fixture
def fakes(served: dict[str, Served]) -> Iterator[dict[str, Any]]:
    """The fakes' applications; what a test breaks is mended after it."""
    apps = {name: fake.app for name, fake in served.items()}
    yield apps
    for app in apps.values():
        app.state.fail, app.state.live = None, 4


@pytest.fixture
def settings(served: dict[str, Served]) -> Iterator[Settings]:
    made = load_settings({name: {"url": fake.address} for name, fake in served.items()})
    connect.configure(made)
    yield made
    connect.reset()
