"""Check this machine: parts, addresses, rights, live models; says what to do."""

import importlib.metadata
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Annotated, Literal

import typer

from shared.errors import TrilliumError
from shared.settings import Settings, load_settings

State = Literal["ok", "note", "fail"]


@dataclass(frozen=True)
class Finding:
    """One checked part: its state, what was found, and what to do unless it is well."""

    part: str
    state: State
    found: str
    todo: str = ""


def _package(name: str, extra: str) -> Finding:
    try:
        return Finding(name, "ok", importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        todo = f"pip install 'trillium-suite[{extra}]' where it is needed"
        return Finding(name, "note", "not installed", todo)


def packages(_settings: Settings) -> Iterator[Finding]:
    """Python and the packages of each layer."""
    yield Finding("python", "ok", sys.version.split()[0])
    for name, extra in (
        ("onnxruntime", "serve"),
        ("fastapi", "serve"),
        ("kafka-python", "serve"),
        ("torch", "train"),
        ("transformers", "train"),
        ("streamlit", "dashboards"),
    ):
        yield _package(name, extra)
    builds = [_package(name, name.removeprefix("faiss-")) for name in ("faiss-cpu", "faiss-gpu")]
    there = [build for build in builds if build.state == "ok"]
    if len(there) == 2:
        yield Finding("faiss", "fail", "faiss-cpu and faiss-gpu are both installed", "uninstall one of them")
    else:
        yield there[0] if there else Finding("faiss", "note", "not installed", "install extra 'cpu' or 'gpu'")


def home(settings: Settings) -> Iterator[Finding]:
    """Rights and room where everything is kept."""
    path = settings.home.absolute()
    parent = next(p for p in (path, *path.parents) if p.exists())
    if not os.access(parent, os.W_OK):
        yield Finding("home", "fail", f"{path} can't be written", "set TRILLIUM_HOME to a folder of yours")
        return
    free = shutil.disk_usage(parent).free / 2**30
    todo = "free some space: training and Kafka want 5 GB" if free < 5 else ""
    yield Finding("home", "note" if todo else "ok", f"{path}, {free:.0f} GB free", todo)


def _port_is_free(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def ports(settings: Settings) -> Iterator[Finding]:
    """Addresses that the services and the dashboards would take."""
    wanted = {name: (app.host, app.port) for name, app in settings.apps.items()}
    wanted["dashboard"] = (settings.dashboard.host, settings.dashboard.port)
    for name, (host, port) in wanted.items():
        free = _port_is_free(host, port)
        yield Finding(
            f"port of {name}",
            "ok" if free else "note",
            f"{host}:{port} is {'free' if free else 'in use'}",
            "" if free else "fine when it is ours; else choose another port",
        )


def broker(settings: Settings) -> Iterator[Finding]:
    """The event log, when one is configured."""
    address = settings.kafka.bootstrap
    if address is None:
        todo = "set TRILLIUM_KAFKA__BOOTSTRAP, or run trillium broker"
        yield Finding("kafka", "note", "not configured", todo)
        return
    host, _, port = address.split(",")[0].rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=3):
            yield Finding("kafka", "ok", f"{address} answers")
    except (OSError, ValueError) as error:
        todo = "start the broker or correct TRILLIUM_KAFKA__BOOTSTRAP"
        yield Finding("kafka", "fail", f"{address}: {error}", todo)


def live(settings: Settings) -> Iterator[Finding]:
    """What each application serves, verified by checksum."""
    from shared.artifacts.live import Pointer
    from shared.artifacts.store import ArtifactStore

    store = ArtifactStore(settings.home / "artifacts")
    for name in settings.apps:
        try:
            ref = Pointer(store, name).current()
            if ref is not None:
                store.open(str(ref)).verify()
        except TrilliumError as error:
            yield Finding(
                f"live {name}", "fail", error.detail, f"trillium rollback {name}, or restore a backup"
            )
            continue
        todo = "" if ref else f"run trillium train {name} or trillium index {name}"
        yield Finding(f"live {name}", "ok" if ref else "note", str(ref or "nothing yet"), todo)


def java(_settings: Settings) -> Iterator[Finding]:
    """Java, which a local Kafka broker needs."""
    found = shutil.which("java")
    if found is None:
        todo = "only a local Kafka broker needs it: Java 17 or newer"
        yield Finding("java", "note", "not found", todo)
        return
    text = subprocess.run([found, "-version"], capture_output=True, text=True, check=False).stderr
    yield Finding("java", "ok", text.splitlines()[0] if text else found)


CHECKS: tuple[Callable[[Settings], Iterator[Finding]], ...] = (packages, java, home, ports, broker, live)


def command(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on the last line.")] = False,
) -> None:
    """Check this machine; exits 8 when a part is not fit for use."""
    settings = load_settings()
    findings = [finding for check in CHECKS for finding in check(settings)]
    if as_json:
        print(json.dumps({"findings": [asdict(f) for f in findings]}))
    else:
        width = max(len(f.part) for f in findings)
        for f in findings:
            print(f"{f.state:4}  {f.part:{width}}  {f.found}" + (f"  -> {f.todo}" if f.todo else ""))
    if any(f.state == "fail" for f in findings):
        raise typer.Exit(8)
