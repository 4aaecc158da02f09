import sqlite3
import subprocess
import sys

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, text

from shared.errors import Conflict, NotFound, TrilliumError
from shared.settings import load_settings
from shared.storage.engine import Database, database_for
from shared.storage.migrate import head_of, migrate, open_checked, targets, upgrade
from shared.testing.schema import assert_models_match_migrations
from shared.web.accounts import Accounts, Base


@pytest.fixture
def db(database_url):
    with Database(database_url, schema="accounts", name="accounts", metadata=Base.metadata) as opened:
        yield opened


def set_revision(db, revision):
    with db.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = :r"), {"r": revision})


def test_the_accounts_tables_match_their_revisions(database_url):
    assert_models_match_migrations(database_url, "accounts", Base.metadata)


def test_the_check_finds_a_difference(database_url):
    other = MetaData()
    Table("people", other, Column("name", Integer, primary_key=True))
    with pytest.raises(AssertionError, match="differ"):
        assert_models_match_migrations(database_url, "accounts", other)


def test_every_target_migrates_twice_without_harm(tmp_path):
    settings = load_settings({"home": str(tmp_path)})
    first, second = migrate(settings), migrate(settings)
    assert [one.name for one in first] == targets()
    assert targets()[0] == "accounts"
    assert {one.before for one in first} == {None}
    assert all(one.before == one.now for one in second)


@pytest.mark.postgres
def test_postgres_needs_migrate_and_then_has_a_schema_per_application(postgres_url):
    settings = load_settings({"database": {"url": postgres_url}})
    with database_for(settings, "accounts") as db:
        with pytest.raises(Conflict, match="trillium migrate"):
            open_checked(db)
        migrate(settings)
        open_checked(db)
        with db.read() as session:
            found = session.execute(text("SELECT nspname FROM pg_namespace")).scalars().all()
    assert set(targets()) <= set(found)


def test_a_missing_sqlite_database_is_created_at_the_newest_revision(tmp_path):
    with Database(f"sqlite:///{tmp_path}/db/accounts.sqlite", name="accounts") as db:
        Accounts(open_checked(db)).add_user("ann", "long enough", ["x:y"])
        assert upgrade(db).before == head_of(db)


def test_a_newer_schema_is_refused_and_nothing_of_it_changes(db):
    Accounts(_upgraded(db)).add_user("ann", "long enough", ["x:y"])
    set_revision(db, "9999")
    for action in (open_checked, upgrade):
        with pytest.raises(Conflict, match="newer version"):
            action(db)
    set_revision(db, head_of(db))
    assert [one["person"] for one in Accounts(open_checked(db)).list_users()] == ["ann"]


def test_an_older_schema_is_refused_until_migrate_which_keeps_the_rows(tmp_path, database_url):
    revisions = tmp_path / "old_world" / "migrations" / "versions"
    revisions.mkdir(parents=True)
    for number, statement in (
        ("0001", "CREATE TABLE t (x TEXT)"),
        ("0002", "ALTER TABLE t ADD COLUMN y TEXT"),
    ):
        before = repr("0001") if number == "0002" else None
        (revisions / f"r{number}.py").write_text(
            f"from alembic import op\nrevision, down_revision = {number!r}, {before}\n"
            f"def upgrade():\n    op.execute({statement!r})\n"
        )
    with Database(database_url, schema="old_world", name="old_world") as db:
        later = revisions / "r0002.py"
        text_of_later = later.read_text()
        later.unlink()
        upgrade(db, folder=revisions)
        with db.write() as session:
            session.execute(text("INSERT INTO t VALUES ('kept')"))
        later.write_text(text_of_later)
        with pytest.raises(Conflict, match="trillium migrate"):
            open_checked(db, folder=revisions)
        assert (upgrade(db, folder=revisions).before, open_checked(db, folder=revisions)) == ("0001", db)
        with db.read() as session:
            assert session.execute(text("SELECT x, y FROM t")).all() == [("kept", None)]


def _upgraded(db):
    upgrade(db)
    return db


def test_tables_of_something_else_are_left_alone(tmp_path):
    path = tmp_path / "accounts.sqlite"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE theirs (x)")
    other.close()
    with Database(f"sqlite:///{path}", name="accounts") as db:
        for action in (open_checked, upgrade):
            with pytest.raises(Conflict):
                action(db)


def test_a_database_that_nobody_has_revisions_for(tmp_path):
    with (
        Database(f"sqlite:///{tmp_path}/x.sqlite", name="nobody") as db,
        pytest.raises(NotFound, match="accounts"),
    ):
        open_checked(db)


def test_processes_that_start_together_make_one_database(tmp_path):
    program = (
        "from shared.storage.engine import Database\n"
        "from shared.storage.migrate import open_checked\n"
        "from shared.web.accounts import Accounts\n"
        f"with Database('sqlite:///{tmp_path}/new/accounts.sqlite', name='accounts') as db:\n"
        "    print(len(Accounts(open_checked(db)).list_users()))\n"
    )
    command_line = [sys.executable, "-W", "ignore", "-c", program]
    started = [
        subprocess.Popen(command_line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    ended = [process.communicate() for process in started]
    assert [out.strip() for out, _ in ended] == ["0"] * 4, ended


def test_a_full_disk_while_migrating_leaves_the_old_state(tmp_path):
    with Database(f"sqlite:///{tmp_path}/a.sqlite", name="accounts", max_pages=3) as db:
        with pytest.raises(TrilliumError, match="full"):
            upgrade(db)
        with db.read() as session:
            assert session.execute(text("SELECT name FROM sqlite_master")).all() == []
