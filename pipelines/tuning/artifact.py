"""Find a trained model by what a user calls it: a folder, a name, a version, or an application."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.artifacts.live import BUNDLE
from shared.artifacts.manifest import Manifest
from shared.artifacts.store import Artifact, ArtifactStore
from shared.errors import BadInput, Damaged, NotFound
from shared.finetuning.recipe import Recipe
from shared.models.card import CARD
from shared.models.generator_card import CARD as GENERATOR_CARD
from shared.settings import Settings, load_settings


@dataclass(frozen=True)
class Model:
    """A model folder, what it is called, and its manifest where it is a stored artifact."""

    name: str
    path: Path
    manifest: Manifest | None = None

    def told(self, file: str) -> dict[str, Any]:
        """Return a JSON file of the folder, empty where it is not there; raises Damaged for a broken one."""
        try:
            found = json.loads((self.path / file).read_text("utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise Damaged(f"{self.path / file} can't be read: {error}; train again") from error
        return found if isinstance(found, dict) else {}

    def recipe(self) -> Recipe:
        """Return the recipe as it was resolved; raises NotFound for a folder without one."""
        told = self.told("recipe.json")
        if not told:
            raise NotFound(
                f"{self.name} holds no recipe.json; a model folder is written by `trillium finetune`"
            )
        return Recipe.parse(told, where=f"{self.path / 'recipe.json'}")


def find_model(text: str, settings: Settings | None = None) -> Model:
    """Return the model that `text` names: a folder, NAME (its newest), NAME@N, or an application (live).

    A folder of that name comes first; a bundle stands for its model. Raises NotFound, BadInput for an
    artifact that holds no model, and what `ArtifactStore.open` raises.
    """
    if Path(text).is_dir():
        if not _holds_model(Path(text)):
            raise NotFound(f"{text} holds no {CARD}; a model folder is written by `trillium finetune`")
        return Model(text, Path(text))
    if "/" in text:
        raise NotFound(f"there is no folder {text}; give a model folder, NAME or NAME@N")
    found = _model_of(ArtifactStore((settings or load_settings()).home / "artifacts").open(text))
    if not _holds_model(found.path):
        raise BadInput(f"artifact {found.ref} is of kind {found.manifest.kind} and holds no model")
    return Model(str(found.ref), found.path, found.manifest)


def _holds_model(folder: Path) -> bool:
    return any((folder / name).is_file() for name in (CARD, GENERATOR_CARD))


def _model_of(found: Artifact) -> Artifact:
    return found.parent("model") if found.manifest.kind == BUNDLE else found
