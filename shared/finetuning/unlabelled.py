"""Rows without labels: taken as they are, labelled where a first model is sure, or given a twin."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from shared.errors import BadInput
from shared.finetuning import calibrate
from shared.finetuning.augmenting.words import changed
from shared.finetuning.beside import Unlabelled
from shared.finetuning.examples import Example
from shared.finetuning.outputs import Said, stacked
from shared.finetuning.recipe import Recipe
from shared.finetuning.rows import Rows
from shared.models.heads import FloatArray, HeadSpec

PSEUDO = "pseudo"  # the lesson of labels that a first model gave
FEWEST = 20  # validation rows above a threshold that it must be right on


def texts_of(recipe: Recipe, source: str, data: Mapping[str, Rows], known: Sequence[str]) -> list[Example]:
    """Return the rows of a source without labels, each text once, without those that are `known` already.

    Raises BadInput when there is no such source or nothing in it.
    """
    if source not in data:
        raise BadInput(f"the recipe reads data {source!r}; given are {', '.join(data) or 'none'}")
    column = recipe.data[source].text if source in recipe.data else "text"
    seen = {_plain(text) for text in known}
    found = []
    for row in data[source].train:
        text = str(row.get(column) or "")
        if text.strip() and _plain(text) not in seen:
            seen.add(_plain(text))
            found.append(Example(text, {}))
    if not found:
        raise BadInput(f"data {source!r} has no new text in column {column!r}")
    return found


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


def with_twins(rows: Sequence[Example], options: Unlabelled, seed: int) -> list[Example]:
    """Return the rows with a copy of their text in which words are changed; where none can be, none."""
    return [replace(row, twin=changed(row.text, options.probability, f"{seed} twin")) for row in rows]


@dataclass(frozen=True)
class Pseudo:
    """What a first model gave one head: the labelled rows, their label, and what is told of the choice."""

    rows: list[int]
    labels: list[int]
    told: dict[str, Any]


def pseudo_labels(
    spec: HeadSpec,
    valid: Sequence[Said],
    truth: Sequence[int],
    said: Sequence[Said],
    options: Unlabelled,
) -> Pseudo:
    """Return which of the rows that a first model `said` something of get a label.

    The temperature and the threshold come from validation rows, which the model has not seen: the lowest
    probability from which on its answers are right in the share `options.accuracy`. Surest first, equal
    ones in order; `options.most` and `balanced` bound the labels. Without such a threshold no row is taken.
    Raises BadInput for under 20 validation rows.
    """
    if len(truth) < FEWEST:
        raise BadInput(
            f"unlabelled.kinds pseudo sets its threshold on {FEWEST} validation rows of head {spec.name!r}, "
            f"there are {len(truth)}; give more rows"
        )
    logits = stacked(valid, spec.name)
    settled = spec.model_copy(
        update={"temperature": calibrate.temperature(spec, logits, np.asarray(truth, np.float64))}
    )
    shares = settled.decode(logits)
    cut = sure_from(shares.max(1), shares.argmax(1) == np.asarray(truth), options.accuracy)
    told: dict[str, Any] = {"rows": len(said), "threshold": None, "taken": 0}
    if cut is None or not said:
        return Pseudo([], [], told)
    answers = settled.decode(stacked(said, spec.name))
    best, sure = answers.argmax(1), answers.max(1)
    rows = [int(i) for i in np.argsort(-sure, kind="stable") if sure[i] >= cut]
    kept = _bounded(rows, best, options)
    told |= {"threshold": round(cut, 4), "above": len(rows), "taken": len(kept)}
    return Pseudo(kept, [int(best[i]) for i in kept], told)


def sure_from(confidence: FloatArray, right: Any, accuracy: float) -> float | None:
    """Return the lowest confidence (n,) from which on the share `accuracy` is `right`, over at least 20 rows.

    None where there is none.
    """
    order = np.argsort(-confidence, kind="stable")
    count = np.arange(1, len(order) + 1)
    shares = np.cumsum(np.asarray(right)[order]) / count
    values = confidence[order]
    last = np.append(values[1:] < values[:-1], True)  # rows of one confidence are in or out together
    fit = np.flatnonzero((shares >= accuracy) & (count >= min(FEWEST, len(order))) & last)
    return float(values[fit[-1]]) if len(fit) else None


def _bounded(rows: Sequence[int], labels: Any, options: Unlabelled) -> list[int]:
    counts: dict[int, int] = {}
    for row in rows:
        counts[int(labels[row])] = counts.get(int(labels[row]), 0) + 1
    cap = options.most if options.most is not None else len(rows)
    if options.balanced and counts:
        cap = min(cap, max(1, int(2 * np.median(list(counts.values())))))
    taken: dict[int, int] = {}
    kept = []
    for row in rows:
        label = int(labels[row])
        if taken.get(label, 0) < cap:
            taken[label] = taken.get(label, 0) + 1
            kept.append(row)
    return kept


def one_hot(label: int, count: int) -> FloatArray:
    """Return (count,) zeros with a 1 at the label."""
    found = np.zeros(count, np.float32)
    found[label] = 1.0
    return found
