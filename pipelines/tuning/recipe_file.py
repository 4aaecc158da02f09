"""A recipe as a TOML file that `finetune --recipe` reads."""

import json
import re
from collections.abc import Mapping
from typing import Any

from shared.finetuning.recipe import Recipe

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def as_file(recipe: Recipe, shown: Mapping[str, Any], note: str) -> str:
    """Return the recipe as TOML under a comment: what is not at its default, and the fields `shown` (path ->
    value) in any case."""
    tree = recipe.model_dump(mode="json", exclude_defaults=True, exclude_none=True)
    for path, value in shown.items():
        *above, last = path.split(".")
        part = tree
        for step in above:
            part = part.setdefault(step, {})
        if value != "default":
            part[last] = value
    return f"# {note}\n{to_toml(tree)}"


def to_toml(tree: Mapping[str, Any]) -> str:
    """Return a tree of mappings, lists, texts, numbers and truth values as TOML 1.0; a table within a table
    stands on one line."""
    plain = {name: value for name, value in tree.items() if not isinstance(value, Mapping)}
    lines = [f"{_key(name)} = {_value(value)}" for name, value in plain.items()]
    for name, table in tree.items():
        if name not in plain:
            lines += ["", f"[{_key(name)}]"]
            lines += [f"{_key(inner)} = {_value(value)}" for inner, value in table.items()]
    return "\n".join(lines).lstrip("\n") + "\n"


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _text(name)


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        inner = ", ".join(f"{_key(name)} = {_value(one)}" for name, one in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_value(one) for one in value)}]"
    return _text(value) if isinstance(value, str) else json.dumps(value)


def _text(value: str) -> str:
    # JSON's escapes are TOML's, but for one character that TOML doesn't allow as it is.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")
