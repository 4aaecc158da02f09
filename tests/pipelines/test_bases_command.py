import json
import subprocess

import pytest

from shared.testing.tiny_models import tiny_bert


@pytest.fixture
def bases(trillium):
    def run(*arguments):
        return subprocess.run([*trillium, "bases", *map(str, arguments)], capture_output=True, text=True)

    return run


def test_an_added_base_is_listed(bases, tmp_path):
    folder = tiny_bert(tmp_path / "tiny", ["my card"])
    added = bases("add", "mine", folder, "--pooling", "cls", "--licence", "MIT", "--json")
    assert added.returncode == 0, added.stderr
    assert json.loads(added.stdout.splitlines()[-1])["pooling"] == "cls"
    listed = json.loads(bases("list", "--json").stdout.splitlines()[-1])["bases"]
    found = {row["name"]: row["source"] for row in listed}
    assert found["mine"] == f"added from {folder}"
    assert found["bge-small-en-v1.5"] is None
    assert [row["name"] for row in listed if row["default"]] == ["all-MiniLM-L6-v2"]
    again = bases("add", "mine", folder, "--pooling", "cls", "--licence", "MIT")
    assert (again.returncode, len(again.stderr.splitlines())) == (5, 1)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("fetch", "some/model"), 8, "the hub was skipped (HF_HUB_OFFLINE)"),
        (("add", "mine", "none", "--pooling", "mean", "--licence", "MIT"), 3, "config.json"),
        (("add", "mine", ".", "--pooling", "max", "--licence", "MIT"), 2, "max"),
    ],
)
def test_what_can_not_be_done_is_said(bases, arguments, code, said):
    done = bases(*arguments)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
