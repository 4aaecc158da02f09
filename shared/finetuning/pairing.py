"""The body learns from pairs of rows of one label, and the head is fitted on its new vectors.

Tunstall et al. 2022, Efficient Few-Shot Learning Without Prompts (SetFit); the loss is that of the embed
head, where rows of one label are no negatives of each other.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from shared.errors import BadInput
from shared.finetuning import loop, probe
from shared.finetuning.backbone import HeadedModel
from shared.finetuning.collate import Collator
from shared.finetuning.examples import Example
from shared.finetuning.feeding import Feed
from shared.finetuning.methods.build import techniques
from shared.finetuning.recipe import Head, Recipe
from shared.finetuning.validate import validate
from shared.models.heads import HeadSpec

NAME = "pairs"


def tune(
    model: HeadedModel,
    feed: Feed,
    recipe: Recipe,
    train: Sequence[Example],
    valid: Sequence[Example],
    work: Path,
    *,
    tracking: Path | None = None,
    progress: bool,
) -> dict[str, Any]:
    """Tune the body on pairs of rows of one label, then fit the head on its vectors; returns the curves.

    Raises BadInput where no label has two texts.
    """
    options = recipe.train
    (name,) = [spec.name for spec in model.specs.values() if spec.kind == "classify"]
    once = recipe.model_copy(update={"train": options.model_copy(update={"epochs": 1})})
    rows = pairs_of(train, name, options.pairs, options.seed)
    if not rows:
        raise BadInput(f"train.pairs finds no two texts of one label of head {name!r}; give more rows")
    steps = loop.total_steps(len(rows), once.train)
    parts = techniques(once, steps=steps)
    try:
        for part in parts:
            part.prepare(model, recipe)
        with pairing(model) as spec:
            collate = Collator([spec], feed, hidden_share=options.hide)
            losses, _ = loop.fit(
                model, once, rows, collate, None, work, techniques=parts, tracking=tracking, progress=progress
            )
        vectors = probe.encode(model, feed, [row.text for row in train])
        c = probe.fit_heads(model, vectors, train, c=recipe.method.c, seed=options.seed)
    finally:
        for part in parts:
            part.finish(model)
    if not valid:
        return {"losses": losses, "epochs": [], "c": c}
    point = {"step": steps, "epoch": 1.0, **validate(model, feed, valid, options.precision)}
    return {"losses": losses, "epochs": [point], "c": c}


def pairs_of(rows: Sequence[Example], head: str, count: int, seed: int) -> list[Example]:
    """Return `count` pairs a row of the head, each with another text of its label, drawn by `seed`.

    A label with a single text gives none; where it has fewer other texts than `count` each comes once.
    """
    rng = np.random.default_rng(seed)
    of_label: dict[int, list[str]] = {}
    chosen = [row for row in rows if head in row.targets]
    for row in chosen:
        of_label.setdefault(row.targets[head], []).append(row.text)
    found = []
    for row in chosen:
        label = row.targets[head]
        others = [text for text in dict.fromkeys(of_label[label]) if text != row.text]
        drawn = rng.permutation(len(others))[:count].tolist()
        found += [Example(row.text, {NAME: (others[i], "", str(label))}) for i in drawn]
    return found


@contextmanager
def pairing(model: HeadedModel) -> Iterator[HeadSpec]:
    """Give the model one embed head that learns from pairs, in the place of its own heads, for a while."""
    specs, recipes = model.specs, model.recipes
    spec = HeadSpec(name=NAME, kind="embed")
    model.specs, model.recipes = {NAME: spec}, {NAME: Head(kind="embed", data=NAME)}
    try:
        yield spec
    finally:
        model.specs, model.recipes = specs, recipes
