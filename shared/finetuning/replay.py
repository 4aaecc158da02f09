"""Rows of an earlier data source, as the heads of a recipe read them, and an even draw of them."""

from collections.abc import Hashable, Mapping, Sequence

import numpy as np

from shared.errors import BadInput
from shared.finetuning.earlier import Earlier
from shared.finetuning.examples import Example, Side, examples, row_labels
from shared.finetuning.recipe import Head, Recipe
from shared.finetuning.rows import Rows
from shared.models.heads import LABELLED, HeadSpec


def as_read(recipe: Recipe, source: str, data: Mapping[str, Rows]) -> tuple[Recipe, dict[str, Rows]]:
    """Return the recipe and rows in which every head that learns from data reads `source`.

    Raises BadInput when there are no such rows.
    """
    if source not in data:
        raise BadInput(f"the recipe reads data {source!r}; given are {', '.join(data) or 'none'}")
    heads = {name: _moved(head, source) for name, head in recipe.heads.items()}
    return recipe.model_copy(update={"heads": heads}), {source: data[source]}


def _moved(head: Head, source: str) -> Head:
    return head.model_copy(update={"data": source}) if head.data else head


def earlier_examples(
    recipe: Recipe, specs: Sequence[HeadSpec], source: str, data: Mapping[str, Rows], side: Side
) -> list[Example]:
    """Return the rows of the earlier source that a head of the recipe finds its column in, in order."""
    moved, own = as_read(recipe, source, data)
    return examples(moved, specs, own, side)


def known_labels(recipe: Recipe, before: Earlier | None, data: Mapping[str, Rows]) -> dict[str, list[str]]:
    """Return by head the labels of the earlier model, in its order, then those of earlier rows alone."""
    if recipe.continual is None or before is None:
        return {}
    found = before.labels({name: head.kind for name, head in recipe.heads.items()})
    source = recipe.continual.data
    rows = data[source].train if source is not None and source in data else ()
    for name, head in recipe.heads.items():
        if head.kind in LABELLED and head.data:
            seen = {label for row in rows for label in row_labels(name, head, recipe, row)}
            own = found.setdefault(name, [])
            own += sorted(seen - set(own))
    return found


def replayed(rows: Sequence[Example], share: float, seed: int) -> list[Example]:
    """Return this share of the rows, drawn as evenly over what they teach as it goes, in their order."""
    groups = [_group(row) for row in rows]
    return [rows[i] for i in balanced(groups, round(share * len(rows)), seed)]


def _group(row: Example) -> Hashable:
    """Return the target of the first head that sorts rows, a label or a set; else the heads' names."""
    for value in row.targets.values():
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        if isinstance(value, list) and value and isinstance(value[0], float):
            return tuple(value)
    return tuple(sorted(row.targets))


def balanced(groups: Sequence[Hashable], count: int, seed: int) -> list[int]:
    """Return `count` positions, sorted, as many of each group as of any other while it has some.

    Within a group they are drawn; which group gets one more is drawn too. At most `len(groups)`.
    """
    rng = np.random.default_rng(seed)
    of_group: dict[Hashable, list[int]] = {}
    for i, group in enumerate(groups):
        of_group.setdefault(group, []).append(i)
    queues = [rng.permutation(own).tolist() for own in of_group.values()]
    chosen: list[int] = []
    while queues and len(chosen) < count:
        rng.shuffle(queues)
        chosen += [queue.pop() for queue in queues[: count - len(chosen)]]
        queues = [queue for queue in queues if queue]
    return sorted(chosen)
