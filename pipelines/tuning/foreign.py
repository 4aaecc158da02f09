"""Rows that belong to none of the labels: how they are refused is fitted, and measured on the test rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.tuning.sources import Given
from shared.evaluation import classification, selective
from shared.evaluation.resampling import as_codes, interval
from shared.finetuning.export import write_card
from shared.finetuning.out_of_scope import Encoded, fit
from shared.finetuning.recipe import Head, Recipe
from shared.models.card import ModelCard
from shared.models.heads import HeadSpec
from shared.models.out_of_scope import OutOfScope, Places
from shared.models.text_model import TextModel


@dataclass(frozen=True)
class Refusal:
    """A fitted refusal of one classify head, and how its rows are read."""

    spec: HeadSpec
    rule: OutOfScope
    places: Places
    head: Head
    recipe: Recipe

    def figures(self, model: TextModel, given: Given) -> dict[str, Any]:
        """Return the figures over in-scope and foreign test rows, each (value, low, high), and the curve.

        `accuracy`, `macro_f1`, `weighted_f1` and `mcc` run over all rows with the label of foreign rows as a
        class of its own; `closed_accuracy`, `in_scope_accuracy`, `oos_recall` and `oos_auroc` as in
        `shared.evaluation.selective`; `curve` has [threshold, in_scope_accuracy, oos_recall] points.
        """
        inside, outside = given.test[str(self.head.data)], given.foreign["test"]
        rows = [*inside, *outside]
        encoded = _encoded(model, self.spec, self.recipe, self.head, rows)
        scores = self.rule.score(self.places, encoded.vectors, encoded.logits)
        refused = scores > self.rule.threshold
        foreign = np.arange(len(rows)) >= len(inside)
        named = [self.spec.labels[i] for i in encoded.logits.argmax(1)]
        truth = np.asarray(
            [_label(self.recipe, self.spec, self.head, row) for row in inside]
            + [self.rule.label] * len(outside)
        )
        right = np.asarray(named) == truth
        said = np.where(refused, self.rule.label, named)
        labels = (
            classification.accuracy,
            classification.macro_f1,
            classification.weighted_f1,
            classification.mcc,
        )
        codes = as_codes(truth.tolist(), said.tolist())  # names would make a hundred classes slow to draw
        found: dict[str, Any] = {metric.__name__: interval(metric, *codes) for metric in labels}
        found |= {
            "closed_accuracy": interval(selective.closed_accuracy, foreign, right),
            "in_scope_accuracy": interval(selective.in_scope_accuracy, foreign, right, refused),
            "oos_recall": interval(selective.oos_recall, foreign, refused),
            "oos_auroc": interval(selective.oos_auroc, foreign, scores, draws=300),
        }
        points = selective.curve(foreign, right, scores)
        return {
            **found,
            "curve": [[point.threshold, point.in_scope_accuracy, point.oos_recall] for point in points],
        }


def fit_refusal(
    model: TextModel, recipe: Recipe, given: Given, folder: Path, label: str, keep: float
) -> Refusal:
    """Fit the refusal of the recipe's classify head on the served outputs and write it into the folder.

    Training rows say where the labels lie (and, where the file has rows of `label`, where foreign ones do);
    in-scope validation rows alone set the threshold. Raises what `out_of_scope.fit` does.
    """
    (name,) = [name for name, head in recipe.heads.items() if head.kind == "classify"]
    spec, head = model.heads[name], recipe.heads[name]
    rows = given.data[str(head.data)]
    train = _encoded(model, spec, recipe, head, rows.train)
    valid = [row for row in rows.valid if _label(recipe, spec, head, row) in spec.labels]
    known = given.foreign["train"]
    rule, places = fit(
        spec,
        train.vectors,
        _positions(recipe, spec, head, rows.train),
        _encoded(model, spec, recipe, head, valid),
        _positions(recipe, spec, head, valid),
        foreign=_encoded(model, spec, recipe, head, known) if known else None,
        keep=keep,
        seed=recipe.train.seed,
    )
    rule = rule.model_copy(update={"label": label})
    places.save(folder)
    write_card(folder, ModelCard.read(folder).model_copy(update={"out_of_scope": rule}))
    return Refusal(spec, rule, places, head, recipe)


def _label(recipe: Recipe, spec: HeadSpec, head: Head, row: Mapping[str, Any]) -> str:
    return recipe.rename(spec.name, str(row.get(head.target)))


def _positions(recipe: Recipe, spec: HeadSpec, head: Head, rows: Sequence[Mapping[str, Any]]) -> list[int]:
    return [spec.labels.index(_label(recipe, spec, head, row)) for row in rows]


def _encoded(
    model: TextModel, spec: HeadSpec, recipe: Recipe, head: Head, rows: Sequence[Mapping[str, Any]]
) -> Encoded:
    raw = model.logits([str(row[recipe.data[str(head.data)].text]) for row in rows])
    (vectors,) = [raw[name] for name, one in model.heads.items() if one.kind == "embed"]
    return Encoded(vectors, raw[spec.name])
