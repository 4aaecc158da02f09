"""What an artifact's folder tells of its training, as far as a page can show it."""

import json
from typing import Any

from shared.artifacts.store import Artifact

LARGEST = 2_000_000  # bytes of one file; what is larger is for a download, not for a page


def about(one: Artifact) -> dict[str, Any]:
    """Return `curves`, `evaluation`, `recipe`, `test`, `compressed` and `card`, None for what lacks."""
    found = {name: shown(one, f"{name}.json") for name in ("curves", "evaluation", "test")}
    recipe = one.manifest.extra.get("recipe") or shown(one, "recipe.json")
    compressed = shown(one, "compress.json")
    return {**found, "recipe": recipe, "compressed": compressed, "card": told(one, "card.md")}


def shown(one: Artifact, name: str) -> Any:
    """Return a JSON file of the artifact, None without it: a page that lists all must not fail for one."""
    text = told(one, name)
    if text is None:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def told(one: Artifact, name: str) -> str | None:
    """Return a text file of the artifact, None where it is missing, too large or no UTF-8."""
    path = one.path / name
    try:
        if name not in one.manifest.files or path.stat().st_size > LARGEST:
            return None
        return path.read_text("utf-8")
    except (OSError, ValueError):
        return None
