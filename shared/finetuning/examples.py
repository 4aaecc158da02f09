"""Rows become batches: the texts of all of a row's heads go through the encoder together."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from shared.errors import BadInput
from shared.finetuning.recipe import Head, Recipe
from shared.finetuning.rows import Rows
from shared.models.heads import FloatArray, HeadSpec

Row = Mapping[str, Any]
KEPT = "kept"  # among a batch's targets: how near the vectors stay to the base's
Side = Literal["train", "valid"]


@dataclass(frozen=True)
class Example:
    """One training row: its text, what each head that has a target here needs, and, where the embed head
    keeps near the base, the base's vector (dim,) of the text."""

    text: str
    targets: dict[str, Any]
    kept: FloatArray | None = None


def labels_of(value: Any) -> list[str]:
    """Return the labels of a multilabel cell: a list as it is, text split at `|`, nothing for empty."""
    parts = value if isinstance(value, list | tuple) else str(value or "").split("|")
    return [str(part).strip() for part in parts if str(part).strip()]


def head_specs(recipe: Recipe, data: Mapping[str, Rows]) -> list[HeadSpec]:
    """Return the heads with the recipe's labels, else those of their training rows, sorted.

    Raises BadInput for a head whose data is not there, or a classify head with fewer than two labels.
    """
    for name, head in recipe.heads.items():
        if head.data is not None and head.data not in data:
            raise BadInput(f"head {name!r} reads data {head.data!r}; given are {', '.join(data) or 'none'}")
    return [
        HeadSpec(name=name, kind=head.kind, labels=_labels(name, head, recipe, data))
        for name, head in recipe.heads.items()
    ]


def _labels(name: str, head: Head, recipe: Recipe, data: Mapping[str, Rows]) -> list[str]:
    if head.kind == "embed" or head.labels:
        return head.labels
    rows: Iterable[Row] = data[str(head.data)].train
    found = {label for row in rows for label in _row_labels(name, head, recipe, row)}
    if len(found) < (2 if head.kind == "classify" else 1):
        raise BadInput(
            f"head {name!r} finds {len(found)} labels in column {head.label!r} of the training rows; "
            "give rows of at least two labels"
        )
    return sorted(found)


def _row_labels(name: str, head: Head, recipe: Recipe, row: Row) -> list[str]:
    value = row.get(head.label)
    if head.kind == "multilabel":
        return [recipe.rename(name, label) for label in labels_of(value)]
    return [] if value in (None, "") else [recipe.rename(name, str(value))]


def examples(
    recipe: Recipe, specs: Sequence[HeadSpec], data: Mapping[str, Rows], side: Side
) -> list[Example]:
    """Return the rows of one side that at least one head learns from, in order.

    An embed head whose anchor column is the text column of its data shares the row's pass with the
    other heads; else its pairs are rows of their own.
    """
    found = []
    for name, rows in data.items():
        heads = [spec for spec in specs if recipe.heads[spec.name].data == name]
        for row in getattr(rows, side):
            by_text: dict[str, dict[str, Any]] = {}
            for spec in heads:
                target = _target(spec, recipe, row, side)
                text = str(row.get(_column(spec, recipe)) or "")
                if target is not None and text.strip():
                    by_text.setdefault(text, {})[spec.name] = target
            found += [Example(text, targets) for text, targets in by_text.items()]
    return found


def _column(spec: HeadSpec, recipe: Recipe) -> str:
    head = recipe.heads[spec.name]
    source = recipe.data.get(str(head.data))
    return head.anchor if spec.kind == "embed" else (source.text if source else "text")


def _target(spec: HeadSpec, recipe: Recipe, row: Row, side: Side) -> Any:
    head = recipe.heads[spec.name]
    if spec.kind == "embed":
        positive = str(row.get(head.positive) or "")
        group = str(row.get(head.label) or "") or positive
        return (positive, str(row.get(head.negative) or ""), group) if positive.strip() else None
    if row.get(head.label) is None:
        return None
    given = _row_labels(spec.name, head, recipe, row)
    unknown = [label for label in given if label not in spec.labels]
    if unknown and (head.labels or side == "train"):
        at = f" (line {row['_line']})" if "_line" in row else ""
        raise BadInput(
            f"label {unknown[0]!r}{at} is not one of {', '.join(spec.labels)}; "
            "map it in [labels] of the recipe or drop the row"
        )
    if spec.kind == "multilabel":
        return [float(label in given) for label in spec.labels]
    return spec.labels.index(given[0]) if given and not unknown else None


Tokenize = Callable[[Sequence[str]], dict[str, torch.Tensor]]


class Collator:
    """Turns examples into one padded batch and the targets of each head, as `HeadedModel` reads them."""

    def __init__(self, specs: Sequence[HeadSpec], tokenize: Tokenize) -> None:
        self._specs = specs
        self._tokenize = tokenize

    def __call__(self, batch: Sequence[Example]) -> dict[str, Any]:
        """Return `{input_ids, attention_mask, targets, labels}`; the rows' own texts come first, in order.

        `labels` is a 1 for each row: the Trainer counts the rows of a step by it.
        """
        texts = [example.text for example in batch]
        targets: dict[str, dict[str, torch.Tensor]] = {}
        for spec in self._specs:
            rows = [i for i, example in enumerate(batch) if spec.name in example.targets]
            if not rows:
                continue
            values = [batch[i].targets[spec.name] for i in rows]
            if spec.kind == "embed":
                targets[spec.name] = _pairs(rows, values, texts)
            else:
                labels = torch.tensor(
                    values, dtype=torch.float32 if spec.kind == "multilabel" else torch.long
                )
                targets[spec.name] = {"rows": torch.tensor(rows), "labels": labels}
        kept = [i for i, example in enumerate(batch) if example.kept is not None]
        if kept:
            vectors = torch.from_numpy(np.stack([batch[i].kept for i in kept]))  # type: ignore[misc]
            targets[KEPT] = {"rows": torch.tensor(kept), "kept": vectors}
        ones = torch.ones(len(batch), dtype=torch.long)
        return {**self._tokenize(texts), "targets": targets, "labels": ones}


def _pairs(rows: list[int], values: list[tuple[str, str, str]], texts: list[str]) -> dict[str, torch.Tensor]:
    # Anchors of one group (the same label, else the same positive) are no negatives of each other.
    groups: dict[str, int] = {}
    anchor_groups = [groups.setdefault(group, len(groups)) for _, _, group in values]
    candidate_groups = list(anchor_groups)
    candidates = []
    for positive, _, _ in values:
        candidates.append(len(texts))
        texts.append(positive)
    for _, negative, _ in values:
        if negative.strip():
            candidates.append(len(texts))
            texts.append(negative)
            candidate_groups.append(groups.setdefault(negative, len(groups)))
    return {
        "anchors": torch.tensor(rows),
        "candidates": torch.tensor(candidates),
        "anchor_groups": torch.tensor(anchor_groups),
        "candidate_groups": torch.tensor(candidate_groups),
    }
