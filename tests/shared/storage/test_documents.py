import threading
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from sqlalchemy.orm import DeclarativeBase

from shared.errors import BadInput
from shared.storage.documents import CounterRow, DocumentLedger, DocumentRow, NewDocument, Synced, text_hash
from shared.storage.engine import Database
from shared.storage.types import new_metadata
from shared.storage.vectors import VectorCache, VectorRow


class Base(DeclarativeBase):
    metadata = new_metadata()


class Page(DocumentRow, Base):
    __tablename__ = "pages"


class Counter(CounterRow, Base):
    __tablename__ = "counters"


class Vector(VectorRow, Base):
    __tablename__ = "vectors"


class Noon:
    def now(self):
        return datetime(2026, 1, 1, 12, tzinfo=UTC)


def page(id_, text="text", **more):
    return NewDocument(id=id_, title=f"title of {id_}", text=text, **more)


@pytest.fixture
def db(database_url):
    with Database(database_url) as opened:
        Base.metadata.create_all(opened.engine)
        yield opened


@pytest.fixture
def ledger():
    return DocumentLedger(Page, Noon())


def changes(db, ledger, since=0):
    with db.read() as session:
        return [
            (row.sequence, row.id, row.version, row.deleted) for row in ledger.changes_since(session, since)
        ]


def test_each_change_has_the_next_number_and_an_unchanged_document_none(db, ledger):
    with db.write() as session:
        assert ledger.upsert(session, [page("a"), page("b", groups=["x", "x"])]) == 2
    with db.write() as session:
        assert ledger.upsert(session, [page("a"), page("b", groups=("x",))]) == 0
        assert ledger.upsert(session, [page("a", "new text")]) == 1
    assert changes(db, ledger) == [(2, "b", 1, False), (3, "a", 2, False)]
    assert changes(db, ledger, since=2) == [(3, "a", 2, False)]
    with db.read() as session:
        assert ledger.head(session) == 3
        assert [row.text for row in ledger.get(session, ["b", "missing", "a"])] == ["text", "new text"]


@pytest.mark.parametrize(
    "change",
    [
        {"title": "t"},
        {"text": "t"},
        {"url": "u"},
        {"attributes": {"k": [1]}},
        {"groups": ["g"]},
        {"source_path": "p"},
    ],
)
def test_any_part_of_the_content_is_a_change(db, ledger, change):
    with db.write() as session:
        ledger.upsert(session, [page("a")])
        assert ledger.upsert(session, [replace(page("a"), **change)]) == 1
        assert ledger.upsert(session, [replace(page("a"), **change)]) == 0


def test_the_last_of_one_id_counts(db, ledger):
    with db.write() as session:
        assert ledger.upsert(session, [page("a", "one"), page("a", "two")]) == 1
        assert [row.text for row in ledger.get(session, ["a"])] == ["two"]


def test_a_deleted_document_leaves_a_tombstone_without_content(db, ledger):
    with db.write() as session:
        ledger.upsert(session, [page("a", "secret", groups=["g"], attributes={"k": 1}), page("b")])
        assert ledger.delete(session, ["a", "missing"]) == 1
        assert ledger.delete(session, ["a"]) == 0
    assert changes(db, ledger, since=2) == [(3, "a", 1, True)]
    with db.read() as session:
        assert ledger.get(session, ["a"]) == []
        (row,) = ledger.changes_since(session, 2)
        assert (row.title, row.text, row.text_hash, row.attributes, row.groups) == ("", "", "", {}, [])
        assert [row.id for row in ledger.page(session)] == ["b"]
    with db.write() as session:
        assert ledger.upsert(session, [page("a", "secret")]) == 1
    assert changes(db, ledger, since=3) == [(4, "a", 2, False)]


def test_syncing_a_path_deletes_only_what_that_path_lost(db, ledger):
    with db.write() as session:
        ledger.upsert(session, [page("api")])
        assert ledger.sync_path(session, "help/", [page("a"), page("b")]) == Synced(2, 0)
        assert ledger.sync_path(session, "faq/", [page("c")]) == Synced(1, 0)
        assert ledger.sync_path(session, "help/", [page("b", "new"), page("d")]) == Synced(2, 1)
        assert [row.id for row in ledger.page(session)] == ["api", "b", "c", "d"]
        assert [row.id for row in ledger.page(session, after="api", limit=2)] == ["b", "c"]


@pytest.mark.parametrize("bad", [page("a", "nul \x00"), page("a", "half \ud800"), page("")])
def test_what_a_database_can_not_keep_is_refused_before_anything_is_written(db, ledger, bad):
    with pytest.raises(BadInput), db.write() as session:
        ledger.upsert(session, [page("good"), bad])
    assert changes(db, ledger) == []


def test_a_rolled_back_write_leaves_no_gap(db, ledger):
    with pytest.raises(ZeroDivisionError), db.write() as session:
        print(ledger.upsert(session, [page("a")]) / 0)
    with db.write() as session:
        ledger.upsert(session, [page("b")])
    assert changes(db, ledger) == [(1, "b", 1, False)]


def test_a_reader_never_finds_a_smaller_number_later(db, ledger):
    done, seen, late = threading.Event(), [], []

    def write(who):
        for n in range(15):
            with db.write() as session:
                ledger.upsert(session, [page(f"{who}-{n}-{part}") for part in range(3)])

    def read():
        last = 0
        while not done.is_set() or last < 180:
            with db.read() as session:
                numbers = [row.sequence for row in ledger.changes_since(session, last)]
            late.extend(n for n in numbers if n <= last)
            seen.extend(numbers)
            last = max([last, *numbers])

    writers = [threading.Thread(target=write, args=(who,)) for who in range(4)]
    reader = threading.Thread(target=read)
    for thread in (reader, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    reader.join()
    assert (seen, late) == (list(range(1, 181)), [])


def test_more_documents_than_one_statement_takes(db, ledger):
    many = [page(f"d{n:05}") for n in range(1_201)]
    with db.write() as session:
        assert ledger.upsert(session, many) == 1_201
        assert ledger.sync_path(session, "", many[:1]) == Synced(0, 1_200)


def test_vectors_are_kept_per_text_and_encoder(db):
    cache, one, two = VectorCache(Vector), text_hash("one"), text_hash("two")
    vectors = {one: np.array([0.5, -1.25], np.float32), two: np.array([3, 4], np.float32)}
    with db.write() as session:
        assert cache.put(session, vectors, "enc-1") == 2
        assert cache.put(session, {one: vectors[two]}, "enc-1") == 0
    with db.read() as session:
        found = cache.get(session, [one, two, text_hash("three")], "enc-1")
        assert cache.get(session, [one], "enc-2") == {}
    assert {key: value.tolist() for key, value in found.items()} == {one: [0.5, -1.25], two: [3, 4]}
    assert found[one].dtype == np.float32
