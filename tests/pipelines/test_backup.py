"""After a restore documents, accounts and the live pointer are back; a bad backup changes nothing."""

import json
import sqlite3
import subprocess
import sys
import tarfile
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest

from pipelines.archive import backup
from pipelines.restoring import restore
from services.recommender.store import Base as AppBase
from services.recommender.store import ItemRow
from shared.artifacts.live import BUNDLE, Pointer
from shared.artifacts.store import ArtifactStore
from shared.errors import Conflict, Damaged, NotFound, Unauthenticated, Unavailable
from shared.settings import load_settings
from shared.storage.documents import DocumentLedger, NewDocument
from shared.storage.engine import database_for
from shared.storage.migrate import migrate, open_checked, targets
from shared.web.accounts import Accounts
from shared.web.accounts import Base as AccountsBase

APP = "recommender"


class Noon:
    def now(self):
        return datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def settings(request, tmp_path):
    url = request.getfixturevalue("postgres_url") if request.param == "postgres" else None
    return load_settings({"home": str(tmp_path / "home"), "database": {"url": url}}, env={})


def elsewhere(settings, tmp_path, name="other"):
    return settings.model_copy(update={"home": tmp_path / name})


@contextmanager
def opened(settings):
    with (
        database_for(settings, APP, AppBase.metadata) as items,
        database_for(settings, "accounts", AccountsBase.metadata) as people,
    ):
        yield DocumentLedger(ItemRow), open_checked(items), Accounts(open_checked(people))


def bundle(store, text):
    with store.create(f"{APP}-model", "model") as model:
        (model.path / "weights.bin").write_text(text)
    with store.create(APP, BUNDLE, parents={"model": model.artifact.ref}) as draft:
        (draft.path / "parameters.json").write_text("{}")
    return draft.artifact.ref


def fill(settings):
    migrate(settings)
    store = ArtifactStore(settings.home / "artifacts")
    pointer = Pointer(store, APP)
    for text in ("one", "two"):
        pointer.move(bundle(store, text), by="ann")
    bundle(store, "never live")
    with opened(settings) as (ledger, items, people):
        people.add_user("ann", "a long password", ["recommender:admin"])
        with items.write() as session:
            ledger.upsert(session, [NewDocument("a", "A", "text of a"), NewDocument("b", "B", "text of b")])
        with items.write() as session:
            ledger.delete(session, ["b"])


def state(settings):
    store = ArtifactStore(settings.home / "artifacts")
    with opened(settings) as (ledger, items, people), items.read() as session:
        return {
            "rows": [(row.id, row.text, row.deleted) for row in ledger.changes_since(session, 0)],
            "head": ledger.head(session),
            "person": people.verify("ann", "a long password").roles,
            "live": str(store.pointers.current(APP)),
            "weights": (store.open(APP).parent("model").path / "weights.bin").read_text(),
        }


def empty_database(settings):
    if settings.database.url:
        with database_for(settings, "accounts") as db, db.write() as session:
            for name in targets():
                session.connection().exec_driver_sql(f'DROP SCHEMA "{name}" CASCADE')


@pytest.mark.parametrize("name", ["backup.tar.gz", "folder"])
def test_everything_is_back(settings, tmp_path, name):
    fill(settings)
    before = state(settings)
    told = backup(settings, tmp_path / name, Noon())
    assert (told["live"], told["created"]) == ({APP: f"{APP}@2"}, "2026-01-01T12:00:00Z")
    assert told["artifacts"] == [f"{APP}-model@1", f"{APP}-model@2", f"{APP}@1", f"{APP}@2"]
    empty_database(settings)
    there = elsewhere(settings, tmp_path)
    restore(there, tmp_path / name)
    assert state(there) == before
    store = ArtifactStore(there.home / "artifacts")
    assert str(Pointer(store, APP).rollback("ann")) == f"{APP}@1"
    assert sorted(path.name for path in there.home.iterdir()) == sorted(
        {"artifacts", "db"} if not settings.database.url else {"artifacts"}
    )


def test_a_home_in_use_is_refused_and_with_force_moved_aside(settings, tmp_path):
    fill(settings)
    backup(settings, tmp_path / "old.tgz")
    with opened(settings) as (ledger, items, people):
        people.change_user("ann", disabled=True)
        with items.write() as session:
            ledger.upsert(session, [NewDocument("c", "C", "newer")])
    with pytest.raises(Conflict, match="--force"):
        restore(settings, tmp_path / "old.tgz")
    with pytest.raises(Unauthenticated):
        state(settings)
    told = restore(settings, tmp_path / "old.tgz", force=True, clock=Noon())
    assert [row[0] for row in state(settings)["rows"]] == ["a", "b"]
    assert (settings.home / "before-20260101T120000Z" / "artifacts" / APP / "2").is_dir()
    if settings.database.url:
        assert f"schema {APP}_before_20260101t120000z" in told["moved_aside"]
    else:
        aside = settings.home / "before-20260101T120000Z" / "db" / f"{APP}.sqlite"
        assert sqlite3.connect(aside).execute("SELECT id FROM items ORDER BY id").fetchall() == [
            ("a",),
            ("b",),
            ("c",),
        ]


def tampered(folder, how):
    if how == "a changed file":
        (folder / "artifacts" / APP / "2" / "parameters.json").write_text('{"x": 1}')
    elif how == "a missing file":
        next(path for path in folder.rglob("*") if path.suffix in (".sqlite", ".sql")).unlink()
    elif how == "a file too many":
        (folder / "artifacts" / "extra").write_text("x")
    elif how == "no contents":
        (folder / "backup.json").unlink()
    elif how == "a newer format":
        contents = json.loads((folder / "backup.json").read_text())
        (folder / "backup.json").write_text(json.dumps(contents | {"format": 2}))
    elif how == "a broken statement":
        contents = json.loads((folder / "backup.json").read_text())
        from hashlib import sha256

        for path in (folder / "sql").glob("*.sql"):
            path.write_text(path.read_text() + "\nSELECT nonsense;\n")
            contents["files"][f"sql/{path.name}"] = sha256(path.read_bytes()).hexdigest()
        (folder / "backup.json").write_text(json.dumps(contents))


@pytest.mark.parametrize(
    ("how", "error"),
    [
        ("a changed file", Damaged),
        ("a missing file", Damaged),
        ("a file too many", Damaged),
        ("no contents", Damaged),
        ("a newer format", Conflict),
        ("a broken statement", Unavailable),
    ],
)
def test_a_bad_backup_changes_nothing(settings, tmp_path, how, error):
    if how == "a broken statement" and not settings.database.url:
        return  # SQLite files are copied, no statement runs
    fill(settings)
    backup(settings, tmp_path / "folder")
    tampered(tmp_path / "folder", how)
    before, files = state(settings), sorted(settings.home.rglob("*.json"))
    with pytest.raises(error):
        restore(settings, tmp_path / "folder", force=True)
    assert state(settings) == before
    assert sorted(settings.home.rglob("*.json")) == files
    assert not list(settings.home.glob(".restore*"))


@pytest.mark.parametrize("content", [b"", b"no archive", None])
def test_what_is_no_archive_is_refused(tmp_path, content):
    settings = load_settings({"home": str(tmp_path / "home")}, env={})
    path = tmp_path / "x.tar.gz"
    if content is None:
        with tarfile.open(path, "w:gz") as archive:
            outside = tarfile.TarInfo("../outside")
            archive.addfile(outside)
    else:
        path.write_bytes(content)
    with pytest.raises(Damaged):
        restore(settings, path)
    assert not (tmp_path / "outside").exists()
    assert not list((tmp_path / "home").iterdir())
    with pytest.raises(NotFound):
        restore(settings, tmp_path / "absent.tar.gz")


def test_a_cut_off_archive_is_refused(tmp_path):
    settings = load_settings({"home": str(tmp_path / "home")}, env={})
    fill(settings)
    backup(settings, tmp_path / "whole.tar.gz")
    whole = (tmp_path / "whole.tar.gz").read_bytes()
    (tmp_path / "half.tar.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(Damaged):
        restore(elsewhere(settings, tmp_path), tmp_path / "half.tar.gz")


def test_a_backup_never_replaces_one_and_leaves_nothing_on_error(tmp_path):
    settings = load_settings({"home": str(tmp_path / "home")}, env={})
    fill(settings)
    (tmp_path / "kept.tar.gz").write_text("kept")
    with pytest.raises(Conflict):
        backup(settings, tmp_path / "kept.tar.gz")
    damaged = settings.home / "artifacts" / f"{APP}-model" / "1" / "weights.bin"
    damaged.write_text("flipped")
    with pytest.raises(Damaged):
        backup(settings, tmp_path / "new.tar.gz")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "kept.tar.gz"]
    assert (tmp_path / "kept.tar.gz").read_text() == "kept"


def test_a_backup_of_the_other_kind_says_which_setting(tmp_path):
    plain = load_settings({"home": str(tmp_path / "home")}, env={})
    fill(plain)
    backup(plain, tmp_path / "b")
    server = load_settings({"home": str(tmp_path / "x"), "database": {"url": "postgresql://u@h/x"}}, env={})
    with pytest.raises(Conflict, match="TRILLIUM_DATABASE__URL"):
        restore(server, tmp_path / "b")


def test_a_backup_is_private(tmp_path):
    settings = load_settings({"home": str(tmp_path / "home")}, env={})
    fill(settings)
    for name in ("b.tar.gz", "b"):
        backup(settings, tmp_path / name)
        assert (tmp_path / name).stat().st_mode & 0o077 == 0


def test_an_empty_home_can_be_backed_up_and_restored(tmp_path):
    settings = load_settings({"home": str(tmp_path / "home")}, env={})
    assert backup(settings, tmp_path / "b.tar.gz")["live"] == {}
    restore(elsewhere(settings, tmp_path), tmp_path / "b.tar.gz")


def test_a_full_disk_leaves_no_half_backup(tmp_path):
    settings = load_settings({"home": str(tmp_path / "home")}, env={})
    fill(settings)
    # The file-size limit of one child stands for the disk: a write beyond it fails as on a full one.
    # Without -B Python would leave cut .pyc files behind, which break every later start.
    limited = "import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000)); "
    limited += "sys.argv[1:1] = ['backup']; runpy.run_module('pipelines.cli', run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-B", "-W", "ignore", "-c", limited, str(tmp_path / "b.tar.gz")],
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin", "TRILLIUM_HOME": str(settings.home)},
    )
    assert (done.returncode, len(done.stderr.strip().splitlines())) == (8, 1), done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["home"]
