"""Recipes that learn from more than labelled rows, as `finetune --recipe` reads them."""

import csv
import json

import pytest

from pipelines.tuning.asking import Asked, carry_out
from pipelines.tuning.earlier import with_folders
from pipelines.tuning.sources import from_recipe
from shared.errors import BadInput, NotFound
from shared.finetuning.recipe import Recipe
from shared.models.text_model import TextModel
from shared.settings import Settings
from shared.testing.tiny_models import tiny_rows, tiny_second_rows

HEADS = {"intent": {"kind": "classify", "data": "rows"}}


def table(path, rows, columns=("text", "label")):
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_a_second_task_with_all_that_helps(tuned, tmp_path):
    table(tmp_path / "new.csv", tiny_second_rows())
    table(tmp_path / "more.csv", [*tiny_rows()[:9], *tiny_second_rows()[:9]], ["text"])
    recipe = tmp_path / "second.toml"
    recipe.write_text(
        f"""
        data.rows = {{ files = ["new.csv"], test = ["new.csv"] }}
        data.old = {{ files = ["{tuned.train}"] }}
        data.more = {{ files = ["more.csv"] }}
        heads.classify = {{ kind = "classify", data = "rows" }}
        heads.vector = {{ kind = "embed" }}
        train = {{ epochs = 4, rate = 2e-3, batch = 8, precision = "fp32" }}

        [continual]
        previous = "{tuned.artifact}"
        data = "old"
        replay = 0.5
        ewc = 0.1
        distil = 1.0

        [augment]
        kinds = ["words", "mined"]
        likeness = 0.3

        [unlabelled]
        data = "more"
        kinds = ["consistency"]
        """,
        "utf-8",
    )
    made = carry_out(Asked(recipe=recipe, out=tmp_path / "out"), Settings(home=tuned.home))
    assert made.metrics["accuracy"][0] > 0.7
    labels = TextModel.load(tmp_path / "out").heads["classify"].labels
    assert labels == ["card", "money", "rate", "app", "pin"]
    told = json.loads((tmp_path / "out" / "prepared.json").read_text("utf-8"))
    assert told["continual"]["earlier"] > told["continual"]["replayed"] > 10
    assert told["continual"]["validated"] > 5
    assert told["unlabelled"]["rows"] > 5
    assert sum(kind["kept"] for kind in told["augment"].values()) > 5
    resolved = json.loads((tmp_path / "out" / "recipe.json").read_text("utf-8"))
    assert resolved["continual"]["previous_sha256"]
    assert resolved["base"] == "base"
    assert Recipe.parse(resolved).continual is not None


def test_models_are_found_by_name_and_from_beside_the_recipe(tuned, tmp_path):
    settings = Settings(home=tuned.home)
    name = tuned.artifact.split("@")[0]
    stored = tuned.home / "artifacts"
    folder = next(path.parent for path in stored.rglob("model.json"))
    (tmp_path / "near").symlink_to(folder)
    made = Recipe.parse(
        {
            "heads": HEADS,
            "distil": {"teachers": [name, tuned.artifact, "near"]},
            "augment": {"kinds": ["translate"], "there": "out", "back": "/home"},
        }
    )
    found = with_folders(made, tmp_path, settings)
    assert found.distil.teachers == [str(folder), str(folder), str(tmp_path / "near")]
    assert (found.augment.there, found.augment.back) == (str(tmp_path / "out"), "/home")
    with pytest.raises(NotFound):
        with_folders(
            made.model_copy(update={"distil": made.distil.model_copy(update={"teachers": ["no"]})}),
            tmp_path,
            settings,
        )
    plain = Recipe.parse({"heads": HEADS})
    assert with_folders(plain, tmp_path, settings) == plain


def test_sources_without_labels_are_read_whole(tmp_path):
    rows = table(tmp_path / "rows.csv", tiny_rows())
    table(tmp_path / "more.csv", tiny_rows(), ["text"])

    def read(**more):
        tree = {
            "data": {"rows": {"files": [str(rows)]}, "more": {"files": ["more.csv"], **more}},
            "heads": HEADS,
            "unlabelled": {"data": "more"},
        }
        return from_recipe(Recipe.parse(tree), tmp_path / "home", tmp_path).data

    assert len(read()["more"].train) == 60
    assert not read()["more"].valid
    assert read()["rows"].valid
    with pytest.raises(BadInput, match=r"data\.more of the recipe has no labels; leave its valid and test"):
        read(valid=["rows.csv"])
