"""A small shop with known answers: texts by words, behaviour by hand."""

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from starlette.testclient import TestClient

from services.recommender.api import create
from services.recommender.bundle import INDEX, MATRIX, MODEL, RANKER, RANKING, Ranking
from services.recommender.candidates import cold_items
from services.recommender.client import RecommenderClient
from services.recommender.collaborative import ItemMatrix
from services.recommender.domain import Act, Item
from services.recommender.features import Moments, World
from services.recommender.popularity import Popularity
from services.recommender.rank import Weights
from services.recommender.store import add_events, catalogue_rows, ledger, open_database, to_document
from shared.artifacts.live import BUNDLE, Pointer
from shared.artifacts.store import ArtifactStore
from shared.index.flat import FlatIndex
from shared.settings import load_settings
from shared.storage.engine import database_for
from shared.storage.migrate import open_checked, upgrade
from shared.testing.encoders import WordEncoder
from shared.web.accounts import Accounts
from shared.web.accounts import Base as AccountsBase

DIM = 128
NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


class Hands:
    """A clock that is set by hand."""

    def __init__(self, time=NOW):
        self.time = time

    def now(self):
        return self.time

    def forward(self, **delta):
        self.time += timedelta(**delta)


ITEMS = [
    Item("bread", "Sourdough basket", "a cane basket for slow bread", ("baking",)),
    Item("flour", "Spelt flour", "flour for bread and buns", ("baking", "refill")),
    Item("oven", "Oven thermometer", "says what the dial will not", ("baking",)),
    Item("tent", "Dome tent", "a tent for two in the rain", ("camping",)),
    Item("stove", "Wood stove", "burns pine cones in the rain", ("camping",)),
    Item("mat", "Sleeping mat", "soft ground for a tent", ("camping",)),
    Item("cup", "Tin cup", "holds coffee", ("camping", "coffee")),
    Item("secret", "Secret flour", "flour not for sale", ("baking",), hidden=True),
]
# Who took the row also took the column.
TOGETHER = {
    ("bread", "flour"): 0.6,
    ("flour", "bread"): 0.6,
    ("tent", "mat"): 0.5,
    ("tent", "stove"): 0.4,
    ("mat", "tent"): 0.5,
    ("flour", "oven"): 0.3,
    ("tent", "cup"): 0.1,
    ("bread", "secret"): 0.9,
}


def _matrix_of(together, ids, events=50):
    ids = sorted(ids)
    dense = np.zeros((len(ids), len(ids)), np.float32)
    for (source, target), value in together.items():
        dense[ids.index(source), ids.index(target)] = value
    starts = np.cumsum([0, *(np.count_nonzero(row) for row in dense)])
    rows, targets = np.nonzero(dense)
    counts = np.full(len(ids), events)
    return ItemMatrix(ids, starts.astype(np.int64), targets.astype(np.int32), dense[rows, targets], counts)


def _world_with(items=ITEMS, together=TOGETHER, popular=None, events=50):
    encoder, index = WordEncoder(DIM), FlatIndex(DIM)
    ids = [item.item_id for item in items]
    vectors = encoder.embed([item.text for item in items])
    index.add(ids, vectors)
    matrix = _matrix_of(together, ids, events) if together else ItemMatrix.empty()
    counts = dict(zip(matrix.ids, matrix.events.tolist(), strict=True))
    popularity = Popularity(popular or {})
    return World(index, set(ids), cold_items(ids, counts), Moments.of(vectors), matrix, popularity)


def _act(user, item, kind="buy", days=0.0, value=None):
    """One event `days` before NOW."""
    return Act(user, item, kind, NOW - timedelta(days=days), value)


@pytest.fixture(scope="session")
def now():
    return NOW


@pytest.fixture(scope="session")
def act():
    return _act


@pytest.fixture(scope="session")
def world_with():
    return _world_with


@pytest.fixture(scope="session")
def matrix_of():
    return _matrix_of


@pytest.fixture(scope="session")
def shop_items():
    return {item.item_id: item for item in ITEMS}


@pytest.fixture
def open_at():
    return Shop


@pytest.fixture
def world():
    return _world_with(popular={"cup": 9, "tent": 4})


class Shop:
    """The service over a real store, real databases and the items above."""

    def __init__(self, home, url=None):
        changes = {"home": str(home)} | ({"database": {"url": url}} if url else {})
        self.settings, self.clock = load_settings(changes, env={}), Hands()
        if url:
            upgrade(open_database(self.settings))
        self.db = open_checked(open_database(self.settings))
        self.store = ArtifactStore(self.settings.home / "artifacts", self.clock)
        self.pointer = Pointer(self.store, "recommender", self.clock)
        self.app = create(self.settings, clock=self.clock, load_encoder=lambda path: WordEncoder(DIM))

    def fill(self, items=ITEMS, acts=()):
        with self.db.write() as session:
            ledger(self.clock).upsert(session, [to_document(item) for item in items])
            add_events(session, acts, self.clock.now())

    def publish(self, together=TOGETHER, weights=None, **ranking):
        """Make a bundle of the items as they are, and make it live."""
        rows, head = catalogue_rows(self.db)
        index = FlatIndex(DIM)
        index.add([row.id for row in rows], WordEncoder(DIM).embed([row.text for row in rows]))
        with self.store.create("recommender-model", "model") as model:
            (model.path / "model.json").write_text(json.dumps({"fake": True}))
        with self.store.create("recommender-index", "index") as draft:
            index.save(draft.path, WordEncoder(DIM).fingerprint, head)
        parts = {MODEL: model.artifact.ref, INDEX: draft.artifact.ref}
        if together:
            with self.store.create("recommender-ranker", "ranker") as ranker:
                _matrix_of(together, [item.item_id for item in ITEMS]).save(ranker.path / MATRIX)
                made = Ranking(weights=weights or Weights(), **ranking)
                (ranker.path / RANKING).write_text(made.model_dump_json())
            parts[RANKER] = ranker.artifact.ref
        with self.store.create("recommender", BUNDLE, parents=parts) as bundle:
            (bundle.path / "note.json").write_text("{}")
        self.pointer.move(bundle.artifact.ref, "test")
        return str(bundle.artifact.ref)

    def client(self, *roles):
        with open_checked(database_for(self.settings, "accounts", AccountsBase.metadata)) as db:
            _, key = Accounts(db).create_key("test", roles)
        return RecommenderClient("http://test", token=key, http=self.http)

    def __enter__(self):
        self.http = TestClient(self.app, raise_server_exceptions=False).__enter__()
        return self

    def __exit__(self, *error):
        self.http.__exit__(*error)
        self.db.close()


@pytest.fixture
def shop(tmp_path):
    with Shop(tmp_path / "home") as made:
        yield made


@pytest.fixture
def open_shop(shop):
    """The shop with a live bundle and a few events."""
    shop.fill(acts=[_act("ann", "bread", days=3), _act("ben", "tent", days=2), _act("cat", "tent", days=1)])
    shop.publish()
    return shop
