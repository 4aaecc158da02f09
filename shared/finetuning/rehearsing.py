"""What a rehearsal alone can tell of a training: its rate, and how many steps fit into its minutes."""

from pathlib import Path

from shared.finetuning import loop
from shared.finetuning.backbone import HeadedModel
from shared.finetuning.examples import Example
from shared.finetuning.feeding import Feed
from shared.finetuning.pace import paced
from shared.finetuning.rate_test import with_rate
from shared.finetuning.recipe import Recipe
from shared.finetuning.tuning import collator, started


def rehearsed(
    recipe: Recipe, model: HeadedModel, feed: Feed, train: list[Example], valid: int, work: Path
) -> Recipe:
    """Return the (resolved) recipe with a number in place of rate "auto" and of `minutes`, beside `valid`
    validation rows. `work` keeps both; the model stays."""
    collate = collator(model, feed, recipe)
    if recipe.train.rate == "auto":
        recipe = with_rate(
            recipe, model, collate, train, work, lambda *own: started(own[0], feed, own[1], train, own[2])[0]
        )
    whole = loop.total_steps(len(train), recipe.train)
    return paced(recipe, model, collate, train, valid, whole, work)
