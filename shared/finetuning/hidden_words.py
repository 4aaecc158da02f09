"""How well a pre-trained folder finds hidden words."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from shared.evaluation.classification import Interval
from shared.evaluation.resampling import interval
from shared.finetuning import bases
from shared.finetuning.examples import Example
from shared.finetuning.feeding import Feed
from shared.finetuning.recipe import Recipe
from shared.finetuning.train import load
from shared.finetuning.validate import hidden_losses
from shared.models.heads import HeadSpec


def perplexities(folder: Path, recipe: Recipe, rows: Sequence[Example], *, home: Path) -> dict[str, Interval]:
    """Return by mlm head the perplexity of hidden words in rows with a text, (value, low, high).

    `folder` is what `finetune` wrote for the recipe; the words are the same at every call.
    """
    found = {}
    for name, head in recipe.heads.items():
        chosen = [row for row in rows if name in row.targets]
        if head.kind == "mlm" and chosen:
            base = bases.resolve(str(folder), home=home)
            model, tokenizer, longest = load(base, recipe, [HeadSpec(name=name, kind="mlm")])
            sums, counts = hidden_losses(model, Feed(tokenizer, longest), chosen, recipe.train.precision)
            found[name] = interval(lambda s, c: float(np.exp(s.sum() / c.sum())), sums, counts)
    return found
