"""Which base fits a task: the frozen ones at hand, each with the plain method, on validation rows."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from shared.errors import BadInput
from shared.finetuning import bases, probe
from shared.finetuning.examples import Example, examples, head_specs
from shared.finetuning.feeding import Feed
from shared.finetuning.hardware import best_precision
from shared.finetuning.recipe import DEFAULT_BASE, Recipe
from shared.finetuning.rows import Rows
from shared.finetuning.train import load
from shared.finetuning.validate import validate
from shared.models.heads import HeadSpec
from shared.telemetry import logger

AUTO = "auto"
ROWS = 3000  # training rows that are looked at: more rarely changes which base is better
_LOG = logger(__name__)


@dataclass(frozen=True)
class Compared:
    """A base, its millions of parameters, and its validation score (0 to 1, higher is better)."""

    base: str
    parameters: float
    score: float


def choose(recipe: Recipe, data: Mapping[str, Rows], *, home: Path) -> Recipe:
    """Return the recipe with base "auto" replaced by the best of the bases at hand; any other as it is.

    Heads that frozen vectors say nothing about (of tokens, of pairs) take the default base. Of equal bases
    the smaller wins.
    """
    if recipe.base != AUTO:
        return recipe
    fit = [head.kind for head in recipe.heads.values() if head.data]
    if not all(kind in probe.FROZEN for kind in fit):
        return recipe.model_copy(update={"base": DEFAULT_BASE})
    found = compare(recipe, data, home=home)
    best = max(found, key=lambda one: (round(one.score, 4), -one.parameters))
    _LOG.info("chose a base", base=best.base, scores={one.base: round(one.score, 4) for one in found})
    return recipe.model_copy(update={"base": best.base})


def compare(recipe: Recipe, data: Mapping[str, Rows], *, home: Path) -> list[Compared]:
    """Return the frozen bases at hand with the plain method's validation score, best first.

    classify and multilabel: logistic regression; regress: ridge; embed, similarity and score: the vectors as
    they are. Raises BadInput for other heads or without validation rows.
    """
    recipe = _compared_apart(recipe)
    kinds = {head.kind for head in recipe.heads.values() if head.data}
    if not kinds <= set(probe.FROZEN):
        raise BadInput(
            f"frozen bases can be compared for {', '.join(probe.FROZEN)}, not for {', '.join(sorted(kinds))}"
        )
    names = [row["name"] for row in bases.available(home) if row["source"]]
    specs = head_specs(recipe, data)
    train, valid = examples(recipe, specs, data, "train"), examples(recipe, specs, data, "valid")
    if not valid:
        raise BadInput("bases are compared on validation rows, and there are none")
    order = np.random.default_rng(recipe.train.seed).permutation(len(train))[:ROWS]
    rows = [train[i] for i in sorted(order)]
    found = [_one(name, recipe, rows, valid, home, specs) for name in names]
    return sorted(found, key=lambda one: (-one.score, one.parameters))


def _compared_apart(recipe: Recipe) -> Recipe:
    """Return the recipe with the vectors of two texts compared, where it reads the texts in one pass: what a
    frozen base says of pairs."""
    if [head.kind for head in recipe.heads.values()] != ["score"]:
        return recipe
    heads = {name: head.model_copy(update={"kind": "similarity"}) for name, head in recipe.heads.items()}
    free = next(name for name in ("vector", "vectors") if name not in heads)
    return Recipe.parse({**recipe.model_dump(), "heads": {**heads, free: {"kind": "embed"}}})


def _one(
    name: str,
    recipe: Recipe,
    train: list[Example],
    valid: list[Example],
    home: Path,
    specs: list[HeadSpec],
) -> Compared:
    base = bases.resolve(name, home=home)
    model, tokenizer, longest = load(base, recipe.model_copy(update={"base": name}), specs)
    feed, precision = Feed(tokenizer, longest), best_precision()
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    if any(spec.kind in probe.FITTED for spec in specs):
        vectors = probe.encode(model, feed, [row.text for row in train], precision=precision)
        probe.fit_heads(model, vectors, train, c=recipe.method.c, seed=recipe.train.seed)
    probe.fit_similarities(model, feed, train, precision=precision)
    score = validate(model, feed, valid, precision)["score"]
    weights = sum(parameter.numel() for parameter in model.encoder.parameters())
    return Compared(name, round(weights / 1e6, 1), score)
