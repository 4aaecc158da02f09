"""Tune a loaded model on examples: its parts prepared, its heads fitted, then the one loop."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from shared.finetuning import blending, loop, pairing, probe, token_probe
from shared.finetuning.backbone import HeadedModel
from shared.finetuning.blending import blend, blend_best
from shared.finetuning.collate import Collator, masker
from shared.finetuning.earlier import imprint
from shared.finetuning.examples import Example
from shared.finetuning.feeding import Feed
from shared.finetuning.keep import BEST, LAST
from shared.finetuning.methods.build import techniques
from shared.finetuning.methods.technique import Technique
from shared.finetuning.options import PROMPTED
from shared.finetuning.progress import bars
from shared.finetuning.recipe import Recipe
from shared.finetuning.validate import validate


def collator(model: HeadedModel, feed: Feed, recipe: Recipe) -> Collator:
    """Return what makes batches for the heads of the model."""
    hide = masker(feed.tokenizer) if any(s.kind == "mlm" for s in model.specs.values()) else None
    return Collator(list(model.specs.values()), feed, hide, recipe.train.hide)


def tune(
    model: HeadedModel,
    feed: Feed,
    recipe: Recipe,
    train: list[Example],
    valid: list[Example],
    work: Path,
    *,
    earlier: Sequence[Example] = (),
    tracking: Path | None = None,
    progress: bool,
    watchers: Sequence[Technique] = (),
) -> dict[str, Any]:
    """Fit the heads, then tune as the (resolved) recipe says; returns the curves.

    `earlier` are rows that were learnt before, for what holds on to them; `watchers` come behind the
    recipe's own techniques.
    """
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    if recipe.train.pairs:
        return pairing.tune(model, feed, recipe, train, valid, work, tracking=tracking, progress=progress)
    steps = loop.total_steps(len(train), recipe.train)
    parts = [*techniques(recipe, steps=steps, earlier=earlier, feed=feed), *watchers]
    try:
        train, c = started(model, feed, recipe, train, parts)
        told: dict[str, Any] = {"c": c} if recipe.method.c == "auto" else {}
        if recipe.method.kind == "frozen":
            return {"losses": [], "epochs": [], **told}
        start = copy.deepcopy(model.state_dict()) if recipe.train.blends else {}
        with bars(False):  # the training has its own
            losses, epochs = loop.fit(
                model,
                recipe,
                train,
                collator(model, feed, recipe),
                (lambda: validate(model, feed, valid, recipe.train.precision)) if valid else None,
                work,
                techniques=parts,
                tracking=tracking,
                progress=progress,
            )
        share = _blended(model, feed, recipe, start, valid, work)
    finally:
        for part in parts:
            part.finish(model)
    told |= {"blend": share} if share else {}
    return {"losses": losses, "epochs": epochs, **told}


def _blended(
    model: HeadedModel,
    feed: Feed,
    recipe: Recipe,
    start: Mapping[str, torch.Tensor],
    valid: list[Example],
    work: Path,
) -> float | None:
    """Blend the end of the training with its start where the recipe says so; return the share of the end
    that was chosen, None where the recipe said it."""
    share = recipe.train.blend
    if not recipe.train.blends:
        return None
    # Of the end and not of the best epoch, which may be the start: what lies between is what is wanted.
    model.load_state_dict(load_file(work / LAST))
    if share != "auto":
        blend(model, start, share)
        return None
    looked_at = blending.looked_at(len(valid), recipe.train.start_rows)
    share = blend_best(model, feed, start, valid, recipe.train.precision, looked_at)
    if share == 1:  # then as the recipe with that number would have it
        model.load_state_dict(load_file(work / BEST))
    return share


def started(
    model: HeadedModel, feed: Feed, recipe: Recipe, train: list[Example], parts: list[Technique]
) -> tuple[list[Example], float]:
    """Prepare the model, fit its heads, and give the rows the base's vectors where a head keeps near them;
    also returns the `c` of the fit."""
    frozen = recipe.method.kind == "frozen"
    precision = "fp32" if frozen else recipe.train.precision
    keeps = any(head.keep for head in recipe.heads.values()) and not frozen
    fits = any(s.kind in probe.FITTED and s.name not in model.inherited for s in model.specs.values())
    fits = fits and (frozen or recipe.train.start == "frozen")
    # Vectors before the text change the body's from the start; other methods begin as the base.
    prompted = recipe.method.kind in PROMPTED
    vectors, c = None, probe.C
    imprints = bool(model.fresh) and recipe.train.start == "frozen"
    whole = frozen or keeps or imprints
    seed, most = recipe.train.seed, recipe.train.start_rows
    read = range(len(train)) if whole else probe.start_rows(model, train, seed, most)
    rows = [train[i] for i in read]
    texts = [row.text for row in rows]
    if keeps or imprints or (fits and not prompted):
        vectors = probe.encode(model, feed, texts, precision=precision)
    if keeps and vectors is not None:
        train = [replace(e, kept=vector) for e, vector in zip(train, vectors, strict=True)]
    if imprints and vectors is not None:
        imprint(model, vectors, train)
    for part in parts:
        part.prepare(model, recipe)
    if fits:
        if vectors is None or prompted:
            vectors = probe.encode(model, feed, texts, precision=precision)
        c = probe.fit_heads(model, vectors, rows, c=recipe.method.c, seed=seed)
    if frozen or recipe.train.start == "frozen":
        probe.fit_similarities(model, feed, rows, precision=precision)
        token_probe.fit(model, feed, train, seed=seed, precision=precision)
    return train, c
