"""People and keys as the command line makes them, and what an API then says."""

import io
import json
import subprocess
import sys

import pytest
import structlog

from pipelines.cli import main
from shared.errors import BadInput, Unauthenticated
from shared.settings import load_settings
from shared.storage.engine import database_for
from shared.web.accounts import Accounts


@pytest.fixture
def run(trillium, tmp_path):
    def call(*arguments, stdin=""):
        return subprocess.run(
            [*trillium, *arguments], input=stdin, capture_output=True, text=True, check=False
        )

    return call


@pytest.fixture
def accounts():
    with database_for(load_settings(), "accounts") as db:
        yield Accounts(db)


def test_a_person_signs_in_and_is_listed(run, accounts):
    done = run("user", "add", "ann", "--role", "support:agent", "--group", "staff", stdin="a long password\n")
    assert done.returncode == 0, done.stderr
    assert accounts.verify("ann", "a long password").roles == {"support:agent"}
    with pytest.raises(Unauthenticated):
        accounts.verify("ann", "a long passwort")
    listed = json.loads(run("user", "list", "--json").stdout)["people"]
    assert [(one["person"], one["roles"], one["groups"]) for one in listed] == [
        ("ann", ["support:agent"], ["staff"])
    ]
    assert "password" not in json.dumps(listed)
    changed = run("user", "change", "ann", "--role", "support:admin", "--disable", "--json")
    assert json.loads(changed.stdout)["groups"] == ["staff"]
    with pytest.raises(Unauthenticated):
        accounts.verify("ann", "a long password")


@pytest.mark.parametrize(
    ("arguments", "stdin", "code", "says"),
    [
        (["user", "add", "bob", "--role", "support:agent"], "short\n", 3, "at least 10"),
        (["user", "add", "bob", "--role", "support:agent"], "", 3, "stdin"),
        (["user", "add", "bob", "--role", "support:boss"], "long enough one\n", 3, "support:editor"),
        (["user", "add", "bob", "--role", "nope:admin"], "long enough one\n", 3, "recommender:viewer"),
        (["user", "add", "bob"], "long enough one\n", 2, "--role"),
        (["user", "add", "b b", "--role", "support:agent"], "long enough one\n", 3, "won't do"),
        (["user", "change", "nobody", "--role", "support:agent"], "", 4, "trillium user list"),
        (["key", "create", "--name", "x", "--role", "nope"], "", 3, "support:agent"),
        (["key", "revoke", "k_0"], "", 4, "trillium key list"),
    ],
)
def test_what_is_refused_says_what_to_do(capsys, monkeypatch, arguments, stdin, code, says):
    monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    structlog.reset_defaults()
    said = capsys.readouterr().err
    assert (stopped.value.code, says in said) == (code, True), said
    assert len(said.strip().splitlines()) == 1


def test_a_taken_name_is_a_conflict(run):
    add = ["user", "add", "ann", "--role", "support:agent"]
    assert run(*add, stdin="long enough one\n").returncode == 0
    assert run(*add, stdin="long enough two\n").returncode == 5


def test_a_key_is_shown_once_and_can_be_revoked(run, accounts):
    done = run("key", "create", "--name", "crm", "--role", "support:agent", "--group", "eu", "--json")
    made = json.loads(done.stdout.splitlines()[-1])
    assert made.keys() == {"id", "key"}
    principal = accounts.principal_for_key(made["key"])
    assert (principal.name, principal.roles, principal.groups) == ("crm", {"support:agent"}, {"eu"})
    assert made["key"] not in run("key", "list", "--json").stdout
    assert run("key", "revoke", made["id"]).returncode == 0
    with pytest.raises(Unauthenticated, match="revoked"):
        accounts.principal_for_key(made["key"])
    assert "revoked" in run("key", "list").stdout


@pytest.mark.parametrize("name", ["", "a b", "-x", "x" * 101, "a/b"])
def test_a_name_that_would_not_do_anywhere(run, accounts, name):
    with pytest.raises(BadInput):
        accounts.create_key(name, ["support:agent"])
