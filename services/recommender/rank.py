"""One score per candidate: a blend whose trust in behaviour grows with what is known of the item."""

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from services.recommender.features import Column, Features


class Weights(BaseModel):
    """The blend, chosen on validation data.

    With n training events of an item and w = n / (n + `half`): score = w * behaviour
    + (`text` * w + `cold` * (1 - w)) * text + `repeat` * (repeat + `again` * again) + `popular` * popular.
    `decay` is how much an item of the history counts against the next newer one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    decay: float = Field(0.9, gt=0, le=1)
    text: float = Field(0.5, ge=0)
    cold: float = Field(1.0, ge=0)
    half: float = Field(2.0, gt=0)
    repeat: float = Field(0.0, ge=0)
    again: float = Field(0.0, ge=0)
    popular: float = Field(0.1, ge=0)


def parts(table: Features, weights: Weights) -> dict[str, Column]:
    """Return what each feature adds to the score, one array per part; their sum is the score."""
    trust = table.events / (table.events + weights.half)
    return {
        "behaviour": trust * table.behaviour,
        "text": text_weight(table.events, weights) * table.text,
        "repeat": weights.repeat * (table.repeat + weights.again * table.again),
        "popular": weights.popular * table.popular,
    }


def text_weight(events: Column, weights: Weights) -> Column:
    """Return the weight of the text's z value for items with so many training events."""
    trust = events / (events + weights.half)
    return weights.text * trust + weights.cold * (1.0 - trust)


def scores(table: Features, weights: Weights) -> Column:
    """Return the score of each candidate, in the order of `table.ids`."""
    total: Column = np.sum(list(parts(table, weights).values()), axis=0)
    return total


def order(ids: list[str], values: Column) -> list[int]:
    """Return positions, best score first; scores equal to nine digits go by id."""
    return sorted(range(len(ids)), key=lambda i: (-round(float(values[i]), 9), ids[i]))
