import csv
import json

import pytest

from pipelines.commands.label_noise import command as label_noise
from pipelines.commands.suggest_labels import command as suggest
from shared.errors import Conflict, UsageError
from shared.testing.tiny_models import tiny_rows

PLAIN = ["card card card", "money money", "card money", "rate rate", "card money", "card card card sir"]


@pytest.fixture
def pool(tmp_path):
    path = tmp_path / "pool.jsonl"
    path.write_text(
        "".join(json.dumps({"id": f"r{i}", "text": text}) + "\n" for i, text in enumerate(PLAIN)), "utf-8"
    )
    return path


@pytest.fixture(autouse=True)
def at_home(tuned, monkeypatch):
    monkeypatch.setenv("TRILLIUM_HOME", str(tuned.home))


def lines(capsys):
    said = capsys.readouterr().out.splitlines()  # in tests the logs go there, too
    return [json.loads(line) for line in said if line.startswith("{")]


@pytest.mark.parametrize("method", ["uncertainty", "diversity", "committee"])
def test_the_text_between_two_labels_comes_first(tuned, pool, capsys, method):
    suggest(tuned.artifact, pool, count=4, method=method, head=None, member=None, train=None, seed=0)
    found = lines(capsys)
    assert found[0]["text"] == "card money"
    assert found[0]["id"] == "r2"
    assert set(found[0]) == {"id", "line", "text", "label", "probability", "score"}
    assert len({row["text"] for row in found}) == 4  # a text twice in the file is asked for once
    if method != "diversity":
        assert [row["score"] for row in found] == sorted((row["score"] for row in found), reverse=True)


def test_a_committee_of_artifacts(tuned, pool, capsys):
    options = {"count": 2, "head": None, "train": None, "seed": 0}
    suggest(tuned.artifact, pool, method="committee", member=[tuned.artifact], **options)
    assert all(row["score"] == 0 for row in lines(capsys))  # a model agrees with itself
    with pytest.raises(UsageError, match="belongs to --method committee"):
        suggest(tuned.artifact, pool, method="diversity", member=[tuned.artifact], **options)


def test_members_of_other_labels_are_refused(tuned, pool, tmp_path):
    import shutil

    from pipelines.tuning.artifact import find_model
    from shared.settings import Settings

    folder = tmp_path / "other"
    shutil.copytree(find_model(tuned.artifact, Settings(home=tuned.home)).path, folder)
    card = folder / "model.json"
    card.write_text(card.read_text("utf-8").replace('"card"', '"cards"'), "utf-8")
    with pytest.raises(Conflict, match="must know the same labels"):
        suggest(
            tuned.artifact,
            pool,
            count=1,
            method="committee",
            head=None,
            member=[str(folder)],
            train=None,
            seed=0,
        )


def test_label_noise_names_the_line_that_was_changed(tuned, tmp_path, capsys):
    rows = [{"text": row["text"], "label": row["label"]} for row in tiny_rows()]
    changed = [4, 30, 50]
    for i in changed:
        rows[i]["label"] = "money" if rows[i]["label"] != "money" else "rate"
    file = tmp_path / "noisy.csv"
    with file.open("w", newline="", encoding="utf-8") as out:
        writer = csv.DictWriter(out, ["text", "label"])
        writer.writeheader()
        writer.writerows(rows)
    label_noise(
        file, base=str(tuned.home / "base"), count=10, text_column="text", label_column="label", seed=0
    )
    found = lines(capsys)
    assert len({row["line"] for row in found[:3]} & {i + 2 for i in changed}) >= 2
    assert found[0]["suggested"] != found[0]["label"]
