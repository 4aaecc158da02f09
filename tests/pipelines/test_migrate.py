"""`trillium migrate`, on both databases, as an operator runs it."""

import json
import subprocess

import pytest

from shared.settings import load_settings
from shared.storage.engine import database_for
from shared.storage.migrate import open_checked, targets


def migrate(trillium):
    done = subprocess.run([*trillium, "migrate", "--json"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {
        one["name"]: (one["before"], one["now"])
        for one in json.loads(done.stdout.splitlines()[-1])["databases"]
    }


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request, monkeypatch):
    if request.param == "postgres":
        monkeypatch.setenv("TRILLIUM_DATABASE__URL", request.getfixturevalue("postgres_url"))


def test_migrate_brings_everything_up_and_a_second_time_changes_nothing(trillium, url):
    first, second = migrate(trillium), migrate(trillium)
    assert list(first) == targets()
    assert {before for before, _ in first.values()} == {None}
    assert second == {name: (now, now) for name, (_, now) in first.items()}
    for name in targets():
        with database_for(load_settings(), name) as db:
            open_checked(db)


def test_an_unreachable_server_is_one_line_that_says_what_to_do(trillium, monkeypatch):
    monkeypatch.setenv("TRILLIUM_DATABASE__URL", "postgresql://u:secret@127.0.0.1:1/x")
    done = subprocess.run([*trillium, "migrate"], capture_output=True, text=True, check=False)
    assert done.returncode == 8
    assert len(done.stderr.strip().splitlines()) == 1
    assert "TRILLIUM_DATABASE__URL" in done.stderr
    assert "secret" not in done.stderr
