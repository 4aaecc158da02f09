"""The models that a recipe names beside its base, found as a user calls them and named by their folder."""

from pathlib import Path
from typing import Any

from pipelines.tuning.artifact import find_model
from shared.finetuning.recipe import Recipe
from shared.settings import Settings


def with_folders(recipe: Recipe, beside: Path, settings: Settings) -> Recipe:
    """Return the recipe with the folders of its teachers, of the previous model and of its translators.

    Each is a folder (looked for from `beside`), NAME, NAME@N or an application, as in other commands;
    translators are folders. Raises what `find_model` raises.
    """

    def folder(text: str) -> str:
        near = beside / text
        return str(find_model(str(near) if near.is_dir() else text, settings).path.absolute())

    found: dict[str, Any] = {}
    if recipe.distil:
        teachers = [folder(text) for text in recipe.distil.teachers]
        found["distil"] = recipe.distil.model_copy(update={"teachers": teachers})
    if recipe.continual:
        previous = folder(recipe.continual.previous)
        found["continual"] = recipe.continual.model_copy(update={"previous": previous})
    if recipe.augment and recipe.augment.there and recipe.augment.back:
        placed = {name: str(beside / getattr(recipe.augment, name)) for name in ("there", "back")}
        found["augment"] = recipe.augment.model_copy(update=placed)
    return recipe.model_copy(update=found)
