"""Rows become examples: a text, or two, and what each of the recipe's heads should say of it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from shared.errors import BadInput
from shared.finetuning import cells
from shared.finetuning.following import parted
from shared.finetuning.recipe import Head, Recipe
from shared.finetuning.rows import Rows
from shared.models.heads import LABELLED, OUTSIDE, PAIRED, FloatArray, HeadSpec

Row = Mapping[str, Any]
Side = Literal["train", "valid", "test"]


@dataclass(frozen=True)
class Example:
    """One row: its text, with `pair` where heads read two, what each head that has a target here needs,
    where the embed head keeps near the base the base's vector (dim,) of the text, and its data source.

    `lessons` hold, by lesson and head, what a teacher says of the row: probabilities (labels,), NaN for
    labels it does not know; a number (1,); a unit vector (dim,). `twin` is another wording of the text.

    Targets: classify the position of the label; multilabel a 0 or 1 per label; regress the standardised
    number; score 0 to 1; similarity (other text, 0 to 1); tag and entity a list of (start, end, label
    position) in characters of the text; span (start, end) in the pair, (0, 0) for none; embed (positive,
    negative or "", group); mlm True, or with next_sentence the text's sentences.
    """

    text: str
    targets: dict[str, Any]
    kept: FloatArray | None = None
    pair: str | None = None
    source: str = ""
    lessons: Mapping[str, Mapping[str, FloatArray]] = field(default_factory=dict)
    twin: str | None = None


def labels_of(value: Any) -> list[str]:
    """Return the labels of a multilabel cell: a list as it is, text split at `|`, nothing for empty."""
    parts = value if isinstance(value, list | tuple) else str(value or "").split("|")
    return [str(part).strip() for part in parts if str(part).strip()]


def head_specs(
    recipe: Recipe, data: Mapping[str, Rows], known: Mapping[str, Sequence[str]] | None = None
) -> list[HeadSpec]:
    """Return the heads with the recipe's labels, else those of their training rows, sorted.

    Labels `known` to a head of that name come first, in their order, whether or not a row has them.

    A recipe of nothing but hidden words also gives the vector: a model without any output serves nobody.
    Raises BadInput for a head whose data is not there, a classify head with fewer than two labels, or
    numbers that are all the same.
    """
    for name, head in recipe.heads.items():
        if head.data is not None and head.data not in data:
            raise BadInput(f"head {name!r} reads data {head.data!r}; given are {', '.join(data) or 'none'}")
    before = known or {}
    specs = [_spec(name, head, recipe, data, before.get(name, ())) for name, head in recipe.heads.items()]
    if all(spec.kind == "mlm" for spec in specs):
        specs.append(HeadSpec(name="embed", kind="embed"))
    return specs


def _spec(name: str, head: Head, recipe: Recipe, data: Mapping[str, Rows], known: Sequence[str]) -> HeadSpec:
    if head.kind == "regress":
        column = head.target
        numbers = [
            cells.number(row, column) for row in data[str(head.data)].train if row.get(column) is not None
        ]
        spread = float(np.std(numbers)) if numbers else 0.0
        if not spread > 0:
            raise BadInput(f"head {name!r} finds no two different numbers in column {column!r}")
        return HeadSpec(name=name, kind="regress", centre=float(np.mean(numbers)), spread=spread)
    if head.kind not in LABELLED:
        return HeadSpec(name=name, kind=head.kind, sizes=sorted(head.sizes, reverse=True))
    return HeadSpec(name=name, kind=head.kind, labels=_labels(name, head, recipe, data, known))


def _labels(
    name: str, head: Head, recipe: Recipe, data: Mapping[str, Rows], known: Sequence[str]
) -> list[str]:
    rows: Iterable[Row] = data[str(head.data)].train
    found = set(head.labels) or {label for row in rows for label in row_labels(name, head, recipe, row)}
    found |= {label for label in known if label != OUTSIDE}
    least = 2 if head.kind in ("classify", "entity") else 1
    if head.kind == "tag":
        kinds = sorted({label[2:] for label in found if label != OUTSIDE})
        found = {f"{mark}-{kind}" for kind in kinds for mark in "BI"}
    if len(found) < least:
        raise BadInput(
            f"head {name!r} finds {len(found)} labels in column {head.target!r} of the training rows; "
            f"give rows of at least {'two labels' if least == 2 else 'one label'}"
        )
    if head.kind == "tag":
        return [OUTSIDE, *sorted(found, key=lambda label: (label[2:], label))]
    first = list(known) or head.labels
    return [*first, *sorted(found - set(first))]


def row_labels(name: str, head: Head, recipe: Recipe, row: Row) -> list[str]:
    """Return the labels that a row gives the head, as [labels] of the recipe wants them, in order."""
    value = row.get(head.target)
    if head.kind == "multilabel":
        return [recipe.rename(name, label) for label in labels_of(value)]
    if head.kind == "tag":
        return [_renamed_tag(name, recipe, str(tag)) for tag in value or []]
    if head.kind == "entity":
        return [recipe.rename(name, str(span["label"])) for span in value or []]
    return [] if value in (None, "") else [recipe.rename(name, str(value))]


def _renamed_tag(name: str, recipe: Recipe, tag: str) -> str:
    plain = cells.bio(tag)
    return plain if plain == OUTSIDE else plain[:2] + recipe.rename(name, plain[2:])


def examples(
    recipe: Recipe, specs: Sequence[HeadSpec], data: Mapping[str, Rows], side: Side
) -> list[Example]:
    """Return the rows of one side that at least one head learns from, in order.

    Side "test" is the validation side of `data` as rows that are only scored: a label of a classify head
    that training had not is a position behind the known ones, which no answer can be; rows to validate on
    are left out then.

    An embed head whose anchor column is the text column of its data shares the row's pass with the
    other heads; else its pairs are rows of their own. Raises BadInput, with the line, for a target that
    can't be.
    """
    found = []
    strange: dict[str, dict[str, int]] = {}
    for name, rows in data.items():
        heads = [spec for spec in specs if spec.name in recipe.heads and recipe.heads[spec.name].data == name]
        for row in rows.train if side == "train" else rows.valid:
            by_text: dict[tuple[str, str | None], dict[str, Any]] = {}
            for spec in heads:
                text, pair = _texts(spec, recipe, row)
                if not text.strip() or (pair is not None and not pair.strip()):
                    continue
                target = _target(spec, recipe, row, side)
                if target is None and side == "test" and spec.kind == "classify":
                    target = _behind(spec, recipe, row, strange.setdefault(spec.name, {}))
                if target is not None:
                    by_text.setdefault((text, pair), {})[spec.name] = target
            found += [
                Example(text, targets, pair=pair, source=name) for (text, pair), targets in by_text.items()
            ]
    return found


def _texts(spec: HeadSpec, recipe: Recipe, row: Row) -> tuple[str, str | None]:
    head = recipe.heads[spec.name]
    source = recipe.data.get(str(head.data))
    if spec.kind in PAIRED:
        first, second = ("question", "context") if spec.kind == "span" else ("query", "text")
        return str(row.get(first) or ""), str(row.get(second) or "")
    if spec.kind == "similarity":
        return str(row.get("query") or ""), None
    if spec.kind == "tag" and row.get("tokens"):
        return " ".join(str(token) for token in row["tokens"]), None
    column = head.anchor if spec.kind == "embed" else (source.text if source else "text")
    return str(row.get(column) or ""), None


def _target(spec: HeadSpec, recipe: Recipe, row: Row, side: Side) -> Any:
    head = recipe.heads[spec.name]
    if spec.kind == "mlm":
        return parted(_texts(spec, recipe, row)[0]) if head.next_sentence else True
    if spec.kind == "embed":
        positive = str(row.get(head.positive) or "")
        group = str(row.get(head.target) or "") or positive
        return (positive, str(row.get(head.negative) or ""), group) if positive.strip() else None
    if spec.kind == "span":
        return cells.answer(row)
    if row.get(head.target) is None:
        return None
    if spec.kind == "regress":
        return (cells.number(row, head.target) - spec.centre) / spec.spread
    if spec.kind == "score":
        return cells.grade(row, head.target)
    if spec.kind == "similarity":
        other = str(row.get("text") or "")
        return (other, cells.grade(row, head.target)) if other.strip() else None
    given = row_labels(spec.name, head, recipe, row)
    unknown = [label for label in given if label not in spec.labels]
    if unknown and (side == "train" or (head.labels and side == "valid")):
        raise BadInput(
            f"label {unknown[0]!r}{cells.at(row)} is not one of {', '.join(spec.labels)}; "
            "map it in [labels] of the recipe or drop the row"
        )
    if spec.kind == "multilabel":
        return [float(label in given) for label in spec.labels]
    if spec.kind == "tag":
        return _tagged(spec, row, given)
    if spec.kind == "entity":
        return _spans(spec, row, _texts(spec, recipe, row)[0], row[head.target], given)
    return spec.labels.index(given[0]) if given and not unknown else None


def _behind(spec: HeadSpec, recipe: Recipe, row: Row, known: dict[str, int]) -> int | None:
    given = row_labels(spec.name, recipe.heads[spec.name], recipe, row)
    return len(spec.labels) + known.setdefault(given[0], len(known)) if given else None


def _tagged(spec: HeadSpec, row: Row, tags: Sequence[str]) -> list[tuple[int, int, int]]:
    tokens = [str(token) for token in row.get("tokens") or []]
    cells.tag_a_token(row, tokens, tags)
    found, at, before = [], 0, OUTSIDE
    for token, tag in zip(tokens, tags, strict=True):
        if tag.startswith("I-") and before[2:] != tag[2:]:
            tag = f"B-{tag[2:]}"  # the older IOB scheme begins an entity with I-
        position = spec.labels.index(tag) if tag in spec.labels else 0  # a kind that only validation has
        found.append((at, at + len(token), position))
        at, before = at + len(token) + 1, tag
    return found


def _spans(
    spec: HeadSpec, row: Row, text: str, spans: Sequence[Mapping[str, Any]], labels: Sequence[str]
) -> list[tuple[int, int, int]] | None:
    places = cells.places(row, text, spans)
    found = [
        (start, end, spec.labels.index(label))
        for (start, end), label in zip(places, labels, strict=True)
        if label in spec.labels
    ]
    return found or None
