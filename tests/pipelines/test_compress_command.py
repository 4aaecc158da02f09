import json
import shutil

import pytest

from pipelines.commands.compress import command
from shared.artifacts.store import ArtifactStore
from shared.errors import BadInput, Conflict, UsageError
from shared.finetuning import cards, compress
from shared.finetuning.recipe import Recipe
from shared.finetuning.rows import Rows
from shared.finetuning.train import finetune
from shared.models.text_model import TextModel
from shared.settings import load_settings
from shared.testing.tiny_models import tiny_bert, tiny_rows


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    home, rows = tmp_path_factory.mktemp("model"), tiny_rows()
    base = tiny_bert(home / "base", [row["text"] for row in rows])
    heads = {"intent": {"kind": "classify", "data": "rows"}, "embed": {"kind": "embed"}}
    recipe = Recipe.parse({"base": str(base), "heads": heads, "method": {"kind": "frozen"}})
    finetune(recipe, {"rows": Rows(rows[::2], rows[1::2])}, home / "model", home=home, progress=False)
    return home / "model"


@pytest.fixture
def data(tmp_path):
    lines = [json.dumps({"text": row["text"], "label": row["label"]}) for row in tiny_rows()]
    (tmp_path / "valid.jsonl").write_text("\n".join(lines), "utf-8")
    return tmp_path / "valid.jsonl"


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(compress, "SECONDS", 0.0)


def last_line(capsys):
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_a_new_version_of_the_model_has_slots_and_the_table(folder, data, capsys):
    store = ArtifactStore(load_settings().home / "artifacts")
    with store.create("desk-model", "model", recipe_hash="r", data_hash="d") as draft:
        shutil.copytree(folder, draft.path, dirs_exist_ok=True)
        draft.metrics = {"intent": {"accuracy": 1.0}}
    command("desk-model", limit=0.5, data=data, json=True)
    said = last_line(capsys)
    assert set(said) == {"artifact", "slots", "table"}
    assert said["artifact"] == "desk-model@2"
    assert set(said["slots"]) == {"interactive", "bulk"}
    made = store.open("desk-model@2")
    assert made.manifest.parents == {"original": "desk-model@1"}
    assert (made.manifest.recipe_hash, made.manifest.data_hash) == ("r", "d")
    assert made.manifest.metrics["compress"] == said["table"]
    assert made.manifest.metrics["intent"] == {"accuracy": 1.0}
    assert said["table"][0]["heads"]["intent"]["metric"] == "accuracy"
    assert TextModel.load(made.path, slot="bulk").run(["my card"]).vectors.shape[0] == 1


def test_a_folder_gives_a_folder(folder, tmp_path, capsys):
    command(str(folder), limit=0.5, out=tmp_path / "out")
    said = capsys.readouterr().out
    assert f"artifact: {tmp_path / 'out'}" in said
    assert "onnx fp32" in said
    assert "interactive: " in said
    assert TextModel.load(tmp_path / "out").run(["my card"]).vectors.shape[0] == 1


def test_what_can_not_be_done_is_refused(folder, tmp_path):
    with pytest.raises(UsageError, match="say with --out"):
        command(str(folder))
    (tmp_path / "bad.jsonl").write_text('{"text": "my card", "label": "moon"}\n' * 20, "utf-8")
    with pytest.raises(BadInput, match="'moon' is no label"):
        command(str(folder), out=tmp_path / "out", data=tmp_path / "bad.jsonl")
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "home") == ["bad.jsonl"]


def test_a_smaller_model_says_what_it_lost(folder, data, tmp_path, capsys):
    out = tmp_path / "out"
    command(str(folder), limit=0.5, data=data, out=out, vocabulary=True, zeros=0.2, texts=data, json=True)
    said = last_line(capsys)
    assert set(said) == {"artifact", "slots", "table", "smaller"}
    assert said["smaller"]["tokens"][1] <= said["smaller"]["tokens"][0]
    assert said["smaller"]["heads"]["intent"]["loss"] <= 0.5
    assert TextModel.load(out, slot="bulk").run(["my card"]).vectors.shape[0] == 1
    told = cards.render(out, "x")
    assert "## Made smaller" in told
    assert "of the body's weights are 0" in told


def test_layers_need_texts(folder, tmp_path):
    with pytest.raises(UsageError, match="give --texts FILE"):
        command(str(folder), out=tmp_path / "out", layers="0")


def test_the_limit_of_the_recipe_refuses(folder, data, tmp_path):
    strict = shutil.copytree(folder, tmp_path / "strict")
    told = json.loads((strict / "recipe.json").read_text("utf-8"))
    (strict / "recipe.json").write_text(json.dumps({**told, "compress": {"limit": 0.0}}), "utf-8")
    with pytest.raises(Conflict, match="loses more than the limit"):
        command(str(strict), data=data, out=tmp_path / "out", zeros=0.95)
    assert not (tmp_path / "out").exists()
    command(str(strict), data=data, out=tmp_path / "out", zeros=0.95, limit=1.0)
    assert TextModel.load(tmp_path / "out").run(["my card"]).vectors.shape[0] == 1
