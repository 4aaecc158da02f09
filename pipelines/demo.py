"""The whole suite on one machine: prepare what is missing, start everything, replay the stream."""

import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from pipelines.demonstrating import checks
from pipelines.demonstrating.figures import Figure, figures, too_easy
from pipelines.demonstrating.parts import broker, database
from pipelines.demonstrating.place import PERSON, SAMPLES, Place, free_port, only_one, password
from pipelines.demonstrating.prepare import prepare
from pipelines.processes import Processes
from services.recommender.client import RecommenderClient
from services.sentiment.client import SentimentClient
from services.support.client import SupportClient
from shared.errors import Conflict, NotFound, TrilliumError, Unavailable
from shared.settings import Settings, find_apps, load_settings
from shared.storage.engine import database_for
from shared.storage.migrate import open_checked
from shared.web.accounts import Accounts, Base
from shared.web.client import ServiceClient

STREAM = SAMPLES / "sentiment" / "stream.jsonl"
REPLAY_S = 300.0
POLL_S = 0.25
C = TypeVar("C", bound=ServiceClient)


class Failed(TrilliumError):
    """A check of `demo --once` did not hold."""

    exit_code, title = 1, "The demo's checks failed"


def run(settings: Settings, *, once: bool, real: bool) -> None:
    """Run the demo until Ctrl-C, or with `once` until its checks have passed.

    With `real` the event log is Apache Kafka and the tables are in PostgreSQL; both are started here
    unless the settings name others. Raises Failed when a check does not hold.
    """
    console = Console(stderr=True, highlight=False)
    home = settings.home.absolute()
    with (
        only_one(home),
        database(settings, console, real=real) as url,
        broker(settings, console, real=real) as bootstrap,
    ):
        place = Place(home, _environment(settings, home, bootstrap, url))
        prepare(place, console)
        with Processes(home / "logs", place.environment) as processes:
            _start(place, processes, console)
            _replay(place, processes, console)
            found = figures(place)
            _show(found, console)
            if once:
                _check(place, found, console)
            else:
                _invite(place, console)
                _wait(processes)


def _environment(settings: Settings, home: Path, bootstrap: str, url: str | None) -> dict[str, str]:
    ports = {name: free_port(app.port) for name, app in settings.apps.items()}
    return {
        "TRILLIUM_HOME": str(home),
        "TRILLIUM_KAFKA__BOOTSTRAP": bootstrap,
        **({"TRILLIUM_DATABASE__URL": url} if url else {}),
        **{f"TRILLIUM_{name.upper()}__PORT": str(port) for name, port in ports.items()},
        "TRILLIUM_DASHBOARD__PORT": str(free_port(settings.dashboard.port)),
    }


def _start(place: Place, processes: Processes, console: Console) -> None:
    console.print("starting services, worker and dashboards")
    add_person(place)
    settings = place.settings()
    for name in find_apps():
        processes.start(name, "serve", name)
    processes.start("worker", "work", "sentiment")
    processes.start("dashboards", "dashboard")
    for name in find_apps():
        processes.wait(name, lambda url=settings.url(name): _answers(url))  # type: ignore[misc]
    processes.wait("dashboards", lambda: _listens(dashboard_url(settings)))


def add_person(place: Place) -> None:
    """Make the demo's person, who may do everything, with this home's password."""
    settings = place.settings()
    roles = [f"{name}:admin" for name in find_apps()]
    with database_for(settings, "accounts", Base.metadata) as db, contextlib.suppress(Conflict):
        Accounts(open_checked(db)).add_user(PERSON, password(place.home), roles)


def dashboard_url(settings: Settings) -> str:
    """Return the address of the dashboards."""
    return f"http://{settings.dashboard.host}:{settings.dashboard.port}"


def _answers(url: str) -> bool:
    try:
        return ServiceClient(url).ready() is None
    except TrilliumError:
        return False


def _listens(url: str) -> bool:
    try:
        ServiceClient(url).get("/_stcore/health")
    except (Unavailable, NotFound):
        return False
    except (TrilliumError, ValueError):
        return True  # it answers, though not with JSON
    return True


def _replay(place: Place, processes: Processes, console: Console) -> None:
    """Feed the stream, unless it was already, and wait until it is scored and judged."""
    client = sign_in(SentimentClient(place.settings().url("sentiment")), place)
    wanted = len({json.loads(line)["id"] for line in STREAM.read_text("utf-8").splitlines()})
    if client.health().items < wanted:
        place.run("feed", "sentiment", str(STREAM))
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    until, before, still = time.monotonic() + REPLAY_S, None, 0
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("scoring the stream", total=wanted)
        while still < 8:  # the watermark stands for two seconds: every window before it was judged
            processes.check()
            health = client.health()
            bar.update(task, completed=min(health.items, wanted))
            still = still + 1 if health.items >= wanted and health.now == before else 0
            before = health.now
            if time.monotonic() > until:
                raise Unavailable(
                    f"{health.items} of {wanted} items were scored in {REPLAY_S:.0f} s; the worker's log "
                    f"ends with:\n{processes.tail('worker')}"
                )
            time.sleep(POLL_S)


def sign_in(client: C, place: Place) -> C:
    """Return `client`, signed in as the demo's person."""
    client.login(PERSON, password(place.home))
    return client


def _show(found: list[Figure], console: Console) -> None:
    table = Table(title="Held-out figures, each beside a plain method on the same rows", title_justify="left")
    for name, justify in (("", "left"), ("rows", "right"), ("Trillium", "right"), ("plain", "right")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    table.add_column("plain method")
    for one in found:
        table.add_row(one.what, str(one.rows), f"{one.value:.3f}", f"{one.plain:.3f}", one.plain_name)
    console.print(table)


def _check(place: Place, found: list[Figure], console: Console) -> None:
    settings = place.settings()
    wrong = [
        *checks.support(sign_in(SupportClient(settings.url("support")), place)),
        *checks.sentiment(sign_in(SentimentClient(settings.url("sentiment")), place)),
        *checks.recommender(sign_in(RecommenderClient(settings.url("recommender")), place)),
        *(f"the example data is too easy: {one}" for one in too_easy(found)),
        *(f"{one.what} is not above {one.plain_name}" for one in found if one.value <= one.plain),
    ]
    if wrong:
        raise Failed("the demo ran, but:\n  " + "\n  ".join(wrong))
    console.print("[bold]all checks passed[/bold]: right articles, one surge alerted, fitting offers")


def _invite(place: Place, console: Console) -> None:
    console.print(
        f"\n  [bold]{dashboard_url(place.settings())}[/bold]\n"
        f"  sign in as [bold]{PERSON}[/bold], password [bold]{password(place.home)}[/bold]\n\n"
        "  Ctrl-C stops everything; the next start reuses what was made."
    )


@contextlib.contextmanager
def stopping() -> Iterator[threading.Event]:
    """Yield an event that SIGINT or SIGTERM sets."""
    stop = threading.Event()
    before = {name: signal.signal(name, lambda *_: stop.set()) for name in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)


def _wait(processes: Processes) -> None:
    with stopping() as stop:
        while not stop.wait(1.0):
            processes.check()


def demonstrate(*, once: bool, real: bool) -> None:
    """Run the demo with this process's settings; SIGTERM stops it as Ctrl-C does."""
    signal.signal(signal.SIGTERM, lambda *_: os.kill(os.getpid(), signal.SIGINT))
    run(load_settings(), once=once, real=real)
