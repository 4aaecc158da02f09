"""What a model was trained on: files, their hashes and sizes, kept beside it; and how to read them again."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines.tuning.artifact import Model
from pipelines.tuning.sources import Given, from_recipe, without_label
from shared.artifacts.files import sha256_of
from shared.errors import BadInput, NotFound
from shared.finetuning.recipe import Recipe
from shared.finetuning.rows import data_hash
from shared.models.card import ModelCard

FILE = "data.json"


def described(recipe: Recipe, given: Given) -> dict[str, Any]:
    """Return what `data.json` holds: `{hash, sources: {NAME: {train, valid, test, files: {PATH: SHA-256}}}}`.

    `hash` is that of the training and validation rows; the counts are rows, `files` those of training.
    """
    sources = {}
    for name, source in recipe.data.items():
        rows = given.data[name]
        sources[name] = {
            "train": len(rows.train),
            "valid": len(rows.valid),
            "test": len(given.test.get(name, [])),
            "files": {file: sha256_of(Path(file)) for file in source.files},
        }
    return {"hash": data_hash(given.data), "sources": sources}


def training_rows(
    model: Model, source: str, home: Path, train: Path | None = None
) -> tuple[Recipe, list[Mapping[str, Any]]]:
    """Return the recipe and the rows that the model learnt from, of one data source of its recipe.

    `train` names the file where the one of the recipe is gone; all its rows are then taken. Raises NotFound
    for a file that is gone and BadInput for one that changed; both say to give --train.
    """
    recipe = model.recipe()
    if source not in recipe.data:
        raise NotFound(f"the recipe of {model.name} has no data {source!r}; it has {', '.join(recipe.data)}")
    if train is None:
        _check(model, recipe, source)
    known = recipe.data[source]
    files = [str(train.absolute())] if train else known.files
    valid = [] if train else known.valid
    one = known.model_copy(update={"files": files, "valid": valid, "test": []})
    heads = {name: head for name, head in recipe.heads.items() if head.data == source}
    small = recipe.model_copy(update={"data": {source: one}, "heads": heads})
    given = from_recipe(small, home, Path())
    foreign = ModelCard.read(model.path).out_of_scope
    if foreign is not None and source == recipe.heads[foreign.head].data:
        given = without_label(given, source, recipe.heads[foreign.head].target, foreign.label)
    rows = given.data[source]
    return recipe, [*rows.train, *rows.valid] if train else list(rows.train)


def _check(model: Model, recipe: Recipe, source: str) -> None:
    files = recipe.data[source].files
    if not files:
        raise NotFound(f"the recipe of {model.name} names no training file; give --train FILE")
    hashes = model.told(FILE).get("sources", {}).get(source, {}).get("files", {})
    for file in files:
        if not Path(file).is_file():
            raise NotFound(f"the training file {file} of {model.name} is gone; give --train FILE")
        if file in hashes and sha256_of(Path(file)) != hashes[file]:
            raise BadInput(
                f"{file} is not what {model.name} was trained on, it changed since; give --train FILE "
                "(the rows of then, or others to compare with)"
            )
