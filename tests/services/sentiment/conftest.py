"""A monitor over a real store and real databases; its model reads the feeling off the words."""

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from starlette.testclient import TestClient

from services.sentiment.api import create
from services.sentiment.app import build
from services.sentiment.client import SentimentClient
from services.sentiment.domain import LABELS
from services.sentiment.score import TOPICS_FILE
from services.sentiment.store import TABLES, open_database
from services.sentiment.worker import ITEMS_TOPIC, ItemHandler
from shared.artifacts.live import BUNDLE, Pointer
from shared.artifacts.store import ArtifactStore
from shared.clock import to_text
from shared.models.heads import HeadSpec
from shared.models.text_model import Outputs
from shared.settings import load_settings
from shared.storage.engine import database_for
from shared.storage.migrate import open_checked, upgrade
from shared.stream.records import encode
from shared.stream.worker import run_worker
from shared.testing.memory_log import MemoryLog, MemorySubscription
from shared.web.accounts import Accounts
from shared.web.accounts import Base as AccountsBase

NOW = datetime(2026, 3, 20, 12, tzinfo=UTC)
TOPICS = "name,description,keywords\nbanks,Banks and loans,bank*;loan*\nships,Ships and ports,ship*;port\n"


class Hands:
    """A clock that is set by hand, or goes on by `pace` whenever it is read."""

    def __init__(self, time=NOW):
        self.time, self.pace = time, timedelta()

    def now(self):
        self.time += self.pace
        return self.time

    def forward(self, **delta):
        self.time += timedelta(**delta)


class WordModel:
    """A text that says "bad" is negative, "good" positive, else neutral: an oracle for written tests."""

    def __init__(self):
        self.heads = {"sentiment": HeadSpec(name="sentiment", kind="classify", labels=list(LABELS))}

    def run(self, texts):
        rows = [
            [0.9, 0.05, 0.05] if "bad" in t else [0.05, 0.05, 0.9] if "good" in t else [0.1, 0.8, 0.1]
            for t in texts
        ]
        return Outputs(None, {"sentiment": np.asarray(rows, np.float32).reshape(-1, 3)})


class Desk:
    """The application with its databases, a log in memory, and a live bundle."""

    def __init__(self, home, url=None, partitions=1, **own):
        changes = {"home": str(home), "sentiment": own} | ({"database": {"url": url}} if url else {})
        self.settings, self.clock, self.model = load_settings(changes, env={}), Hands(), WordModel()
        if url:
            upgrade(open_database(self.settings))
        self.store = ArtifactStore(self.settings.home / "artifacts", self.clock)
        self.app = build(self.settings, self.store, self.clock, load_one=lambda path: self.model)
        self.db = self.app.database()
        self.log = MemoryLog(ITEMS_TOPIC, partitions)
        self.sent = []

    def publish(self, topics=TOPICS):
        """Make a bundle and make it live."""
        with self.store.create("sentiment-model", "model") as model:
            (model.path / "model.json").write_text(json.dumps({"fake": True}))
        with self.store.create("sentiment", BUNDLE, parents={"model": model.artifact.ref}) as bundle:
            (bundle.path / TOPICS_FILE).write_text(topics, "utf-8")
        Pointer(self.store, "sentiment", self.clock).move(bundle.artifact.ref, "test")
        return str(bundle.artifact.ref)

    def add(self, id_, ts, title="nothing much", partition=0, **more):
        """Append one item to the log; `ts` may be a time or any text."""
        moment = to_text(ts) if isinstance(ts, datetime) else ts
        value = {"id": id_, "ts": moment, "title": title, "source": "wire", **more}
        return self.log.append(encode(value), id_, partition)

    def send(self, topic, key, value):
        self.sent.append((topic, key, value))

    def flush(self):
        pass

    def handler(self, kind=ItemHandler, **options):
        return kind(
            self.app,
            self.log.cluster.id,
            sorted(self.log.records),
            self.ends,
            channel=self,
            holder="me",
            **options,
        )

    def ends(self, partitions):
        return {p: self.log.end(p) for p in partitions}

    def work(self, handler=None, max_records=500, **options):
        """Work until nothing is left; every look at the clock is a second later, so that each tick works."""
        self.clock.pace = timedelta(seconds=1)
        try:
            return run_worker(
                MemorySubscription(self.log, max_records),
                handler or self.handler(),
                self.db,
                tables=TABLES,
                until_idle=True,
                clock=self.clock,
                idle_s=0.0,
                wait=lambda seconds: None,
                **options,
            )
        finally:
            self.clock.pace = timedelta()

    def client(self, *roles):
        with open_checked(database_for(self.settings, "accounts", AccountsBase.metadata)) as db:
            _, key = Accounts(db).create_key("test", roles)
        return SentimentClient("http://test", token=key, http=self.http)

    def __enter__(self):
        service = create(self.settings, clock=self.clock, load_one=lambda path: self.model)
        self.http = TestClient(service, raise_server_exceptions=False).__enter__()
        return self

    def __exit__(self, *error):
        self.http.__exit__(*error)
        self.db.close()


@pytest.fixture
def open_desk(tmp_path):
    """Make a desk: open_desk(partitions=2, window_minutes=60, …)."""
    made = []

    def make(**options):
        desk = Desk(tmp_path / f"home{len(made)}", **options).__enter__()
        made.append(desk)
        desk.publish()
        return desk

    yield make
    for desk in made:
        desk.__exit__(None, None, None)


@pytest.fixture
def desk(open_desk):
    return open_desk()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def either_desk(request, tmp_path):
    """A desk on SQLite, then one on PostgreSQL."""
    url = request.getfixturevalue("postgres_url") if request.param == "postgres" else None
    with Desk(tmp_path / "home", url) as made:
        made.publish()
        yield made


@pytest.fixture(scope="session")
def now():
    return NOW
