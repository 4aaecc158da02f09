import sqlite3
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError, IntegrityError, StatementError
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from shared.errors import BadInput, Conflict, Damaged, StorageFull, TrilliumError, Unavailable, UsageError
from shared.settings import load_settings
from shared.storage.engine import Database, database_for
from shared.storage.types import UtcDateTime, new_metadata


class Base(DeclarativeBase):
    metadata = new_metadata()


class Note(Base):
    __tablename__ = "notes"
    id: Mapped[int] = mapped_column(primary_key=True)
    body: Mapped[str]
    at: Mapped[datetime | None] = mapped_column(UtcDateTime)


@pytest.fixture
def db(database_url):
    with Database(database_url) as opened:
        Base.metadata.create_all(opened.engine)
        yield opened


def bodies(db):
    with db.read() as session:
        return list(session.scalars(select(Note.body).order_by(Note.id)))


def insert(session, id_, body):
    session.add(Note(id=id_, body=body))
    session.flush()


def test_a_write_is_kept_and_a_failed_one_leaves_nothing(db):
    with db.write() as session:
        session.add(Note(id=1, body="kept"))
    with pytest.raises(ZeroDivisionError), db.write() as session:
        print(insert(session, 2, "lost"), 1 / 0)
    assert bodies(db) == ["kept"]


def test_reading_can_not_write(db):
    with pytest.raises((DBAPIError, TrilliumError)), db.read() as session:
        insert(session, 1, "x")
    with db.write() as session:  # the connection that read may write again
        session.add(Note(id=2, body="y"))
    assert bodies(db) == ["y"]


def test_a_read_is_one_snapshot(db):
    with db.read() as session:
        assert session.scalars(select(Note)).all() == []
        with db.write() as other:
            other.add(Note(id=1, body="later"))
        assert session.scalars(select(Note)).all() == []
    assert bodies(db) == ["later"]


def test_read_then_write_beside_others_never_fails(db):
    with db.write() as session:
        session.add(Note(id=1, body="0"))
    failed = []

    def add_fifty():
        for _ in range(50):
            try:
                with db.write() as session:
                    note = session.scalars(select(Note).with_for_update()).one()
                    note.body = str(int(note.body) + 1)
            except TrilliumError as error:
                failed.append(error)

    threads = [threading.Thread(target=add_fifty) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (failed, bodies(db)) == ([], ["200"])


def test_times_come_back_in_utc_and_naive_ones_are_refused(db):
    beijing = datetime(2026, 3, 1, 9, 30, 0, 5, tzinfo=timezone(timedelta(hours=8)))
    with db.write() as session:
        session.add(Note(id=1, body="x", at=beijing))
        session.add(Note(id=2, body="x", at=None))
    with db.read() as session:
        first, second = session.scalars(select(Note).order_by(Note.id))
    assert (first.at, first.at.tzinfo, second.at) == (beijing, UTC, None)
    with pytest.raises(StatementError, match="no time zone"), db.write() as session:
        session.add(Note(id=3, body="x", at=datetime(2026, 1, 1)))  # noqa: DTZ001 - what is refused


def test_a_violated_constraint_stays_an_integrity_error(db):
    with db.write() as session:
        insert(session, 1, "a")
    with pytest.raises(IntegrityError), db.write() as session:
        insert(session, 1, "b")


def test_a_missing_table_names_the_command(database_url):
    with Database(database_url) as db, pytest.raises(Conflict, match="trillium migrate"):
        bodies(db)


def test_a_full_database_keeps_what_it_had(tmp_path):
    with Database(f"sqlite:///{tmp_path}/small.sqlite", max_pages=20) as db:
        Base.metadata.create_all(db.engine)
        with db.write() as session:
            session.add(Note(id=1, body="first"))
        with pytest.raises(StorageFull, match="full") as caught, db.write() as session:
            session.add(Note(id=2, body="x" * 200_000))
        assert (caught.value.status, caught.value.exit_code) == (507, 8)
        assert bodies(db) == ["first"]
        with db.write() as session:
            session.add(Note(id=3, body="small"))
        assert bodies(db) == ["first", "small"]


def test_a_file_size_limit_is_a_full_disk(tmp_path):
    # In a process of its own: the limit would hold for this one to its end.
    program = f"""
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
from sqlalchemy import text
from shared.errors import StorageFull
from shared.storage.engine import Database
with Database("sqlite:///{tmp_path}/limited.sqlite") as db:
    with db.write() as session:
        session.execute(text("CREATE TABLE t (x TEXT)"))
        session.execute(text("INSERT INTO t VALUES ('kept')"))
    try:
        with db.write() as session:
            session.execute(text("INSERT INTO t VALUES (:x)"), {{"x": "y" * 1_000_000}})
    except StorageFull:
        pass
    with db.read() as session:
        print(session.execute(text("SELECT x FROM t")).all())
"""
    done = subprocess.run([sys.executable, "-B", "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[('kept',)]", done.stderr


def test_a_locked_database_says_try_again(tmp_path):
    with Database(f"sqlite:///{tmp_path}/locked.sqlite", busy_s=0.05) as db:
        Base.metadata.create_all(db.engine)
        other = sqlite3.connect(db.path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable, match="busy") as caught, db.write():
            pass
        other.close()
    assert caught.value.retry_after == 1


@pytest.mark.parametrize("url", ["postgresql://u:secret@127.0.0.1:1/x", "postgres://u:secret@127.0.0.1:1/x"])
def test_a_refused_connection_says_what_to_do_without_the_password(url):
    with Database(url) as db, pytest.raises(Unavailable, match="TRILLIUM_DATABASE__URL") as caught:
        bodies(db)
    assert "secret" not in str(caught.value)


@pytest.mark.postgres
def test_a_value_that_postgres_can_not_keep_is_bad_input(postgres_url):
    with Database(postgres_url) as db:
        Base.metadata.create_all(db.engine)
        with pytest.raises(BadInput, match="NUL"), db.write() as session:
            insert(session, 1, "a\x00b")
        with pytest.raises(BadInput, match="range"), db.write() as session:
            insert(session, 2**40, "too large an id")


@pytest.mark.postgres
def test_a_missing_postgres_database_says_what_to_do(postgres_url):
    with (
        Database(postgres_url.replace("/t", "/absent_t")) as db,
        pytest.raises(Unavailable, match="absent_t"),
    ):
        bodies(db)


@pytest.mark.postgres
def test_a_server_that_dropped_the_connection_is_reached_again(postgres_url):
    with Database(postgres_url) as db, Database(postgres_url) as admin:
        Base.metadata.create_all(db.engine)
        assert bodies(db) == []
        with admin.write() as session:
            session.connection().exec_driver_sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() "
                "AND datname = current_database()"
            )
        assert bodies(db) == []


@pytest.mark.postgres
def test_a_schema_keeps_applications_apart(postgres_url):
    one, two = Database(postgres_url, schema="one"), Database(postgres_url, schema="two")
    with one, two:
        for db in (one, two):
            with db.write() as session:
                session.connection().exec_driver_sql(f"CREATE SCHEMA {db.schema}")
            Base.metadata.create_all(db.engine)
        with one.write() as session:
            session.add(Note(id=1, body="mine"))
        assert (bodies(one), bodies(two)) == (["mine"], [])


@pytest.mark.parametrize(
    "content", [b"this is no database file, but text" * 100, b"SQLite format 3\0" + b"\xff" * 4000]
)
def test_a_damaged_file_names_restore(tmp_path, content):
    (tmp_path / "bad.sqlite").write_bytes(content)
    with Database(f"sqlite:///{tmp_path}/bad.sqlite") as db, pytest.raises(Damaged, match="trillium restore"):
        bodies(db)


def test_a_folder_in_the_way_says_which(tmp_path):
    (tmp_path / "folder.sqlite").mkdir()
    with Database(f"sqlite:///{tmp_path}/folder.sqlite") as db, pytest.raises(Unavailable, match="writable"):
        bodies(db)


def test_a_constructor_opens_nothing(tmp_path):
    db = Database(f"sqlite:///{tmp_path}/deep/new.sqlite")
    assert not (tmp_path / "deep").exists()
    assert db.path == tmp_path / "deep" / "new.sqlite"


@pytest.mark.parametrize("url", ["mysql://u:geheim@h/x", "nonsense"])
def test_another_database_is_refused(url):
    with pytest.raises(UsageError) as caught:
        Database(url)
    assert "geheim" not in str(caught.value)


def test_the_settings_choose_the_database(tmp_path):
    plain = database_for(load_settings({"home": str(tmp_path)}), "accounts")
    assert plain.path == tmp_path / "db" / "accounts.sqlite"
    server = database_for(load_settings({"database": {"url": "postgresql://u@h/x"}}), "accounts")
    assert (server.schema, server.url.drivername) == ("accounts", "postgresql+psycopg")
    with pytest.raises(UsageError, match="unset"):
        database_for(load_settings({"database": {"url": f"sqlite:///{tmp_path}/x"}}), "accounts")
    assert Path("accounts.sqlite") != plain.path
