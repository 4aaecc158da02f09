"""Bad input, as people bring it: one clear error, the right exit code or status, and nothing lost."""

import json
import os
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from shared.artifacts.store import ArtifactStore
from shared.settings import load_settings
from shared.storage.engine import database_for
from shared.storage.migrate import open_checked
from shared.web.accounts import Accounts, Base

ROOT = Path(__file__).parents[2]
Make = Callable[[Path], list[str]]


def run(home: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    outer = {name: value for name, value in os.environ.items() if not name.startswith("TRILLIUM_")}
    return subprocess.run(
        [sys.executable, "-B", "-W", "ignore", "-m", "pipelines.cli", *arguments],
        cwd=ROOT,
        env={**outer, "TRILLIUM_HOME": str(home), "HF_HUB_OFFLINE": "1", **env},
        capture_output=True,
        text=True,
        timeout=120,
    )


def _file(folder: Path, name: str, content: bytes) -> str:
    (folder / name).write_bytes(content)
    return str(folder / name)


def _wrong_columns(folder: Path) -> list[str]:
    return ["train", "support", "--tickets", _file(folder, "t.csv", b"text,colour\nhello,red\n")]


def _wrong_encoding(folder: Path) -> list[str]:
    return [
        "train",
        "support",
        "--tickets",
        _file(folder, "t.csv", "question,intent\ncaf\xe9,x\n".encode("latin-1")),
    ]


def _empty_file(folder: Path) -> list[str]:
    return ["train", "sentiment", "--data", _file(folder, "d.csv", b"")]


def _no_documents(folder: Path) -> list[str]:
    (folder / "pages").mkdir()
    (folder / "pages" / "picture.png").write_bytes(b"\x89PNG")
    return ["index", "support", str(folder / "pages")]


def _long_line(folder: Path) -> list[str]:
    with (folder / "d.jsonl").open("wb") as file:
        file.write(b'{"text": "')
        for _ in range(100):
            file.write(b"x" * 1_000_000)
        file.write(b'", "sentiment": "negative"}\n')
    return ["train", "sentiment", "--data", str(folder / "d.jsonl")]


def _nul_bytes(folder: Path) -> list[str]:
    return ["train", "support", "--tickets", _file(folder, "t.csv", b"question,intent\nhe\x00llo,x\n")]


def _unknown_label(folder: Path) -> list[str]:
    rows = b"text,sentiment\n" + b"".join(b"text %d,happy\n" % i for i in range(30))
    return ["train", "sentiment", "--data", _file(folder, "d.csv", rows)]


def _no_such_file(folder: Path) -> list[str]:
    return ["train", "recommender", "--items", str(folder / "no.csv"), "--events", str(folder / "no.csv")]


def _bad_recipe(folder: Path) -> list[str]:
    recipe = _file(folder, "r.toml", b'method = { kind = "magic" }\nheads.x = { kind = "embed" }\n')
    tickets = _file(folder, "t.csv", b"question,intent\nhello,x\n")
    return ["train", "support", "--tickets", tickets, "--recipe", recipe]


def _no_broker(folder: Path) -> list[str]:
    return ["feed", "sentiment", _file(folder, "s.jsonl", b'{"id": "1", "ts": 1, "title": "x"}\n')]


@pytest.mark.parametrize(
    "make, code, told",
    [
        (_wrong_columns, 3, "question"),
        (_wrong_encoding, 3, "UTF-8"),
        (_empty_file, 3, "d.csv"),
        (_no_documents, 3, "holds no document"),
        (_long_line, 3, "d.jsonl"),
        (_nul_bytes, 3, "t.csv"),
        (_unknown_label, 3, "happy"),
        (_no_such_file, 4, "no.csv"),
        (_bad_recipe, 3, "magic"),
        (_no_broker, 8, "TRILLIUM_KAFKA__BOOTSTRAP"),
        (lambda _: ["train", "support", "--colour", "red"], 2, "--colour"),
        (lambda _: ["work", "sentiment", "--until-idle"], 8, "TRILLIUM_KAFKA__BOOTSTRAP"),
        (lambda _: ["promote", "support", "support@7"], 4, "support@7"),
        (lambda _: ["rollback", "support"], 5, "support"),
        (lambda _: ["user", "add", "x", "--role", "support:emperor"], 3, "emperor"),
    ],
)
def test_one_clear_error(make: Make, code: int, told: str, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    done = run(tmp_path / "home", *make(folder))
    assert done.returncode == code, done.stdout + done.stderr
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert not list((tmp_path / "home").glob("artifacts/*@*"))  # nothing half made is left


def test_an_unknown_setting(tmp_path: Path) -> None:
    done = run(tmp_path, "doctor", TRILLIUM_SUPORT__PORT="1")
    assert done.returncode == 2
    assert "TRILLIUM_SUPPORT__PORT" in done.stderr


def test_a_damaged_artifact_is_named_and_left_as_it_is(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path / "artifacts")
    with store.create("support-model", "model") as draft:
        (draft.path / "weights").write_bytes(b"good")
    (draft.artifact.path / "weights").write_bytes(b"evil")
    done = run(tmp_path, "artifacts", "show", "support-model@1")
    assert done.returncode == 7
    assert "weights" in done.stderr
    assert (draft.artifact.path / "weights").read_bytes() == b"evil"


def test_a_port_in_use(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = run(tmp_path, "serve", "support", "--port", str(taken.getsockname()[1]))
    assert done.returncode == 5
    assert "in use" in done.stderr


def test_an_old_schema_is_not_touched(tmp_path: Path) -> None:
    run(tmp_path, "key", "list")
    file = tmp_path / "db" / "accounts.sqlite"
    with sqlite3.connect(file) as db:
        db.execute("UPDATE alembic_version SET version_num = '0000'")
    db.close()
    done = run(tmp_path, "key", "list")
    assert done.returncode == 5, done.stderr
    with sqlite3.connect(file) as db:
        assert db.execute("SELECT version_num FROM alembic_version").fetchone() == ("0000",)
    db.close()


@pytest.fixture
def accounts(tmp_path: Path) -> Iterator[Accounts]:
    settings = load_settings({"home": str(tmp_path)}, env={})
    with database_for(settings, "accounts", Base.metadata) as db:
        yield Accounts(open_checked(db))


def _service(home: Path) -> TestClient:
    from services.support.api import create

    return TestClient(create(load_settings({"home": str(home)}, env={})))


@pytest.mark.parametrize(
    "role, revoked, body, status",
    [
        (None, False, {"question": "x"}, 401),
        ("support:agent", True, {"question": "x"}, 401),
        ("recommender:admin", False, {"question": "x"}, 403),
        ("support:agent", False, {"question": ""}, 422),
        ("support:agent", False, {"question": "x", "colour": "red"}, 422),
        ("support:agent", False, {"question": "x" * 1_200_000}, 413),
        ("support:agent", False, {"question": "x"}, 503),  # nothing was trained or indexed
    ],
)
def test_the_service_answers_with_a_problem(
    role: str | None, revoked: bool, body: dict[str, str], status: int, accounts: Accounts, tmp_path: Path
) -> None:
    headers = {}
    if role is not None:
        id_, key = accounts.create_key("k", [role])
        headers["Authorization"] = f"Bearer {key}"
        if revoked:
            accounts.revoke_key(id_)
    with _service(tmp_path) as client:
        answer = client.post(
            "/v1/ask", content=json.dumps(body), headers={**headers, "Content-Type": "application/json"}
        )
    assert answer.status_code == status
    problem = answer.json()
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert problem["status"] == status
    assert problem["detail"]
    assert problem["request_id"]
