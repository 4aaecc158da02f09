"""Where a demo is: its settings as environment variables, its addresses, and how to sign in."""

import contextlib
import fcntl
import json
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.errors import Conflict, Unavailable
from shared.settings import Settings, load_settings

SAMPLES = Path(__file__).parents[1] / "samples"
PERSON = "demo"


@dataclass
class Place:
    """One demo. `environment` is what its commands and services get besides ours."""

    home: Path
    environment: dict[str, str]

    def settings(self) -> Settings:
        """Return the settings that the demo's processes see."""
        return load_settings(env={**os.environ, **self.environment})

    def run(self, *arguments: str) -> dict[str, Any]:
        """Run `trillium ARGUMENTS --json` to its end, its progress on our stderr; return what it printed.

        Raises Unavailable when it fails.
        """
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-m", "pipelines.cli", *arguments, "--json"],
            env={**os.environ, **self.environment},
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        if done.returncode:
            what = " ".join(["trillium", *arguments])
            raise Unavailable(f"`{what}` ended with {done.returncode}; what it said is above")
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found


@contextlib.contextmanager
def only_one(home: Path) -> Iterator[None]:
    """Hold the demo's lock on `home`; raises Conflict when another demo runs there."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / "demo.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise Conflict(
                f"a demo runs already in {home.absolute()}; stop it with Ctrl-C, or set TRILLIUM_HOME to "
                "another folder"
            ) from error
        yield


def password(home: Path) -> str:
    """Return the password of the demo's person: made once for this home, mode 0600."""
    file = home / "demo.password"
    if not file.exists():
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
            out.write(secrets.token_urlsafe(9))
    return file.read_text("utf-8")


def free_port(wanted: int) -> int:
    """Return `wanted` if it is free on 127.0.0.1, else a free one."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return int(probe.getsockname()[1])
    raise Unavailable("no port of 127.0.0.1 is free; stop something that uses them")
