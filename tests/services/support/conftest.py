"""A small help desk with known answers: texts by words, a real store and real databases."""

import json
from datetime import UTC, datetime

import numpy as np
import pytest
from starlette.testclient import TestClient

from services.support.api import create
from services.support.bundle import INDEX, LIMITS, MODEL
from services.support.client import SupportClient
from services.support.decide import Limits
from services.support.domain import Document
from services.support.intents import HEAD, IntentCard, Intents, middles
from services.support.knowledge import Knowledge, Snapshot
from services.support.store import ledger, open_database
from shared.artifacts.live import BUNDLE, Pointer
from shared.artifacts.store import ArtifactStore
from shared.index.flat import FlatIndex
from shared.models.text_model import Outputs
from shared.settings import load_settings
from shared.storage.documents import NewDocument
from shared.storage.engine import database_for
from shared.storage.migrate import open_checked, upgrade
from shared.testing.encoders import WordEncoder
from shared.web.accounts import Accounts
from shared.web.accounts import Base as AccountsBase

DIM = 256
NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)

DOCUMENTS = [
    NewDocument(
        "refund.md",
        "Refunds",
        "How long\nA refund takes five working days. It goes back to the card that paid.\n"
        "Costs\nA refund costs nothing.",
        url="https://help.example/refund",
    ),
    NewDocument(
        "hub.md", "Hub lights", "Red light\nA red light means no line. Pull the grey cable and wait."
    ),
    NewDocument("sim.md", "Lost SIM", "Block a lost sim in the app under Mobile. A new sim costs ten euros."),
    NewDocument(
        "leak.md",
        "Refunds for staff",
        "A refund above five hundred needs the manager to sign.",
        groups=["finance"],
    ),
]
QUESTIONS = {
    "refund": ["how long does a refund take", "when is my refund on the card"],
    "no_line": ["the red light is on", "red light and no line"],
    "lost_sim": ["i lost my sim", "block the sim please"],
}


class WordModel(WordEncoder):
    """Words as vectors; an intent's share grows with the cosine to its questions' middle."""

    def __init__(self, intents=QUESTIONS, generation=""):
        super().__init__(DIM)
        self.fingerprint += generation
        self.labels = list(intents)
        texts = [(text, name) for name, asked in intents.items() for text in asked]
        rows = self.embed([text for text, _ in texts])
        self.middles = middles(rows, [name for _, name in texts], self.labels)
        self.passes = []

    def run(self, texts, *, query=False):
        vectors = self.embed(texts, query=query)
        self.passes += texts
        if not self.labels:
            return Outputs(vectors)
        raised = np.exp(8 * (vectors @ self.middles.T))
        return Outputs(vectors, {HEAD: (raised / raised.sum(1, keepdims=True)).astype(np.float32)})

    def save(self, folder, replies, threshold):
        card = IntentCard(labels=self.labels, replies=replies, threshold=threshold)
        Intents(card, self.middles).save(folder)


class Hands:
    """A clock that is set by hand."""

    time = NOW

    def now(self):
        return self.time


class Desk:
    """The service over a real store, real databases and the documents above."""

    def __init__(self, home, url=None):
        changes = {"home": str(home)} | ({"database": {"url": url}} if url else {})
        self.settings, self.clock = load_settings(changes, env={}), Hands()
        if url:
            upgrade(open_database(self.settings))
        self.db = open_checked(open_database(self.settings))
        self.store = ArtifactStore(self.settings.home / "artifacts", self.clock)
        self.pointer = Pointer(self.store, "support", self.clock)
        self.model = WordModel()
        self.app = create(self.settings, clock=self.clock, load_encoder=lambda path: self.model)

    def fill(self, documents=DOCUMENTS):
        with self.db.write() as session:
            ledger(self.clock).upsert(session, documents)

    def remove(self, *ids):
        with self.db.write() as session:
            ledger(self.clock).delete(session, ids)

    def publish(self, *, passage=0.3, replies=(), threshold=0.5, index=True):
        """Make a bundle of the documents as they are, and make it live."""
        with self.store.create("support-model", "model") as model:
            (model.path / "model.json").write_text(json.dumps({"fake": True}))
            self.model.save(model.path, dict(replies), threshold)
        parts = {MODEL: model.artifact.ref}
        if index:
            parts[INDEX] = self._index()
        with self.store.create("support", BUNDLE, parents=parts) as bundle:
            (bundle.path / LIMITS).write_text(Limits(passage=passage, how="by hand").model_dump_json())
        self.pointer.move(bundle.artifact.ref, "test")
        return str(bundle.artifact.ref)

    def _index(self):
        knowledge = Knowledge(FlatIndex(DIM), Snapshot(0, ""), self.model)
        knowledge.catch_up(self.db)
        with self.db.read() as session:
            head, same = ledger().head(session), ledger().identity(session)
        with self.store.create("support-index", "index") as draft:
            knowledge.index.save(draft.path, self.model.fingerprint, head)
            draft.extra = {"sequence": head, "ledger": same}
        return draft.artifact.ref

    def client(self, *roles, groups=()):
        with open_checked(database_for(self.settings, "accounts", AccountsBase.metadata)) as db:
            _, key = Accounts(db).create_key("test", roles, groups)
        return SupportClient("http://test", token=key, http=self.http)

    def __enter__(self):
        self.http = TestClient(self.app, raise_server_exceptions=False).__enter__()
        return self

    def __exit__(self, *error):
        self.http.__exit__(*error)
        self.db.close()


@pytest.fixture
def open_at():
    return Desk


@pytest.fixture
def make_model():
    return WordModel


@pytest.fixture
def desk(tmp_path):
    with Desk(tmp_path / "home") as made:
        yield made


@pytest.fixture
def open_desk(desk):
    """The desk with its documents in a live bundle."""
    desk.fill()
    desk.publish()
    return desk


@pytest.fixture(scope="module")
def still_desk(tmp_path_factory):
    """The same for tests that change nothing."""
    with Desk(tmp_path_factory.mktemp("still") / "home") as made:
        made.fill()
        made.publish()
        yield made


@pytest.fixture
def documents():
    return {one.id: one for one in DOCUMENTS}


@pytest.fixture
def document():
    def make(text, name="a", title="Title", groups=()):
        return Document(name, title, text, None, frozenset(groups), 1)

    return make
