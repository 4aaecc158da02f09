"""What teachers say of rows, worked out once and kept with each row."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from shared.errors import BadInput
from shared.finetuning.beside import TAUGHT
from shared.finetuning.earlier import Earlier
from shared.finetuning.examples import Example
from shared.finetuning.outputs import Said, said_by
from shared.finetuning.recipe import Recipe
from shared.models.heads import FloatArray, HeadSpec, sigmoid, softmax
from shared.models.text_model import TextModel

Lesson = list[dict[str, FloatArray]]  # of each row, by head


def taught_heads(recipe: Recipe, specs: Sequence[HeadSpec]) -> list[HeadSpec]:
    """Return the heads that can be taught: those of a whole text, embed where it learns from data."""
    heads = recipe.heads
    return [
        s
        for s in specs
        if s.kind in TAUGHT and (s.kind != "embed" or (s.name in heads and heads[s.name].data))
    ]


def lesson(
    teachers: Sequence[Path],
    specs: Sequence[HeadSpec],
    rows: Sequence[Example],
    temperature: float,
    *,
    partial: bool = False,
    width: int | None = None,
) -> Lesson:
    """Return for each row, by head, the mean of what the teachers in these folders say.

    classify: (labels,) probabilities at the temperature; multilabel and score: independent ones; regress: the
    number (1,) as the head learns it; embed: a unit vector, `width` numbers long. Each head hears the
    teachers that have one of its name and kind. With `partial`, labels that a teacher does not know are NaN
    and the others sum to 1.

    Raises BadInput where a head has no teacher at all and no other has one either, where a teacher does not
    know a label (unless `partial`), or gives vectors of another width.
    """
    sums: list[dict[str, FloatArray]] = [{} for _ in rows]
    counts: dict[str, int] = {}
    for folder in teachers:
        card = Earlier.read(str(folder)).card
        heard = {h.name: h for h in card.heads}
        if width != card.dim and any(s.kind == "embed" and s.name in heard for s in specs):
            raise BadInput(
                f"the model in {folder} gives vectors of {card.dim} numbers, this base of {width}: an embed "
                "head is taught by models of its own width; drop the head's data or take another teacher"
            )
        pairs = [(s, heard[s.name]) for s in specs if s.name in heard and heard[s.name].kind == s.kind]
        said = said_by(TextModel.load(folder, engine=card.runtime), rows) if pairs and rows else []
        for own, theirs in pairs:
            counts[own.name] = counts.get(own.name, 0) + 1
            for place, one in zip(sums, said, strict=True):
                answer = _answer(own, theirs, one, temperature, partial, folder)
                place[own.name] = place.get(own.name, np.float32(0)) + answer
    if not counts:
        raise BadInput(
            f"the models {', '.join(map(str, teachers))} have no head of the name and kind of one of "
            f"{', '.join(f'{s.name} ({s.kind})' for s in specs) or 'this recipe (none can be taught)'}"
        )
    kinds = {spec.name: spec.kind for spec in specs}
    return [{name: _mean(kinds[name], v, counts[name]) for name, v in place.items()} for place in sums]


def _mean(kind: str, values: FloatArray, count: int) -> FloatArray:
    mean = values / count
    if kind == "embed":
        mean = mean / np.maximum(np.linalg.norm(mean), 1e-9)
    return mean.astype(np.float32)


def _answer(
    own: HeadSpec, theirs: HeadSpec, said: Said, temperature: float, partial: bool, folder: Path
) -> FloatArray:
    numbers = said.numbers[own.name].astype(np.float64)
    if own.kind == "embed":
        return numbers.astype(np.float32)
    if own.kind == "regress":
        number = numbers[:1] * theirs.spread + theirs.centre
        return ((number - own.centre) / own.spread).astype(np.float32)
    if own.kind == "score":
        return sigmoid(numbers[:1] / temperature).astype(np.float32)
    known = [label for label in own.labels if label in theirs.labels]
    if len(known) < (1 if partial else len(own.labels)):
        missing = next(label for label in own.labels if label not in theirs.labels)
        raise BadInput(
            f"head {own.name!r} of the model in {folder} does not know the label {missing!r}; take a teacher "
            "that was trained on the same labels, or map labels in [labels] of the recipe"
        )
    logits = numbers[[theirs.labels.index(label) for label in known]] / temperature
    found = np.full(len(own.labels), np.nan)
    places = [own.labels.index(label) for label in known]
    found[places] = softmax(logits) if own.kind == "classify" else sigmoid(logits)
    return found.astype(np.float32)


def with_lesson(rows: Sequence[Example], name: str, said: Lesson) -> list[Example]:
    """Return the rows with what was said of them as the lesson `name`."""
    kept: list[tuple[Example, Mapping[str, FloatArray]]] = list(zip(rows, said, strict=True))
    return [replace(row, lessons={**row.lessons, name: own}) for row, own in kept]
