import json
import shutil

import pytest

from pipelines.commands.explain import command
from pipelines.tuning.artifact import find_model
from shared.errors import BadInput, NotFound
from shared.settings import Settings

TEXT = "Where is my card, sir?"


@pytest.fixture(autouse=True)
def at_home(tuned, monkeypatch):
    monkeypatch.setenv("TRILLIUM_HOME", str(tuned.home))


def explained(capsys, *args, **options):
    command(*args, json=True, **{"neighbours": 0, "method": "occlusion", **options})
    return json.loads(capsys.readouterr().out.splitlines()[-1])


@pytest.mark.parametrize("method", ["occlusion", "gradients"])
def test_both_methods_name_the_telling_word(tuned, capsys, method):
    told = explained(capsys, tuned.artifact, TEXT, method=method)
    assert told["label"] == "card"
    assert told["method"] == method
    assert set(told) == {"label", "tokens", "method"}
    best = max(told["tokens"], key=lambda one: one["weight"])
    assert (best["text"], TEXT[best["start"] : best["end"]]) == ("card", "card")


def test_neighbours_are_training_rows_and_are_kept(tuned, capsys):
    told = explained(capsys, tuned.artifact.split("@")[0], "where is my card sir", neighbours=3)
    rows = told["neighbours"]
    assert len(rows) == 3
    assert rows[0]["label"] == "card"
    assert [row["similarity"] for row in rows] == sorted((row["similarity"] for row in rows), reverse=True)
    lines = tuned.train.read_text("utf-8").splitlines()
    assert all(lines[row["line"] - 1] == f"{row['text']},{row['label']}" for row in rows)
    (kept,) = (tuned.home / "cache" / "neighbours").iterdir()
    written = kept.stat().st_mtime_ns
    again = explained(capsys, tuned.artifact, "where is my card sir", neighbours=3)["neighbours"]
    assert kept.stat().st_mtime_ns == written
    assert [row["line"] for row in again] == [row["line"] for row in rows]


def test_a_training_file_that_changed_or_is_gone_is_said(tuned, capsys, tmp_path):
    kept = tmp_path / "kept.csv"
    shutil.copy(tuned.train, kept)
    try:
        tuned.train.write_text(tuned.train.read_text("utf-8") + "one more row,card\n", "utf-8")
        with pytest.raises(BadInput, match="it changed since; give --train FILE"):
            explained(capsys, tuned.artifact, TEXT, neighbours=1)
        tuned.train.unlink()
        with pytest.raises(NotFound, match="is gone; give --train FILE"):
            explained(capsys, tuned.artifact, TEXT, neighbours=1)
        assert explained(capsys, tuned.artifact, TEXT, neighbours=1, train=kept)["neighbours"]
    finally:
        shutil.copy(kept, tuned.train)


def test_without_json_it_is_read_by_people(tuned, capsys):
    command(tuned.artifact, TEXT, neighbours=1, method="occlusion", json=False)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "label: card"
    assert lines[1].split()[-1] == "card"


def test_a_model_is_found_by_folder_name_and_version(tuned):
    settings = Settings(home=tuned.home)
    by_name, by_version = find_model("questions-classify", settings), find_model(tuned.artifact, settings)
    assert by_name == by_version
    folder = find_model(str(by_name.path), settings)
    assert (folder.path, folder.manifest) == (by_name.path, None)
    assert folder.recipe() == by_name.recipe()


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("nothing", "no artifact"),
        ("no/folder", "there is no folder"),
        ("questions-classify@9", "questions-classify@9"),
    ],
)
def test_what_is_no_model_is_said(tuned, name, why):
    with pytest.raises(NotFound, match=why):
        find_model(name, Settings(home=tuned.home))


def test_a_folder_without_a_model_is_said(tmp_path):
    with pytest.raises(NotFound, match=r"holds no model\.json"):
        find_model(str(tmp_path))
