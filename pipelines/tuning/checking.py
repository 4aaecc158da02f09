"""A classify head looked at closely on labelled rows: parts of the rows, groups, careless writing."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines.data import read_rows
from pipelines.tuning.artifact import Model
from shared.errors import BadInput
from shared.evaluation.classification import accuracy
from shared.evaluation.fairness import gaps
from shared.evaluation.robustness import drops
from shared.evaluation.slices import length_names, sliced
from shared.models.heads import HeadSpec
from shared.models.text_model import TextModel

SOURCE, PARAPHRASE = "source", "paraphrase"  # columns that are used where a file has them
Tables = dict[str, list[dict[str, Any]]]


def check(
    model: Model,
    file: Path,
    *,
    head: str | None = None,
    groups: Sequence[str] = (),
    wanted: str | None = None,
) -> Tables:
    """Return tables for the model card, measured on the rows of `file`: accuracy by length, label, source and
    each column of `groups` (worst first), how far groups differ, and how far accuracy falls on texts with
    typing errors, other case, no punctuation, lost words, and on the column `paraphrase`.

    `wanted` is the label that people want to get; without it groups are compared by accuracy alone. Rows
    with a label that the head does not know are left out. Raises BadInput without a classify head, without a
    usable row or for a group column with one group, and what reading a file raises.
    """
    served = TextModel.load(model.path)
    spec = _classify_head(served, head)
    if wanted is not None and wanted not in spec.labels:
        raise BadInput(f"head {spec.name!r} has no label {wanted!r}; it has {', '.join(spec.labels)}")
    text, label, rename = _columns(model, spec)
    table = read_rows(file, required=[text, label], optional=[SOURCE, PARAPHRASE, *groups])
    rows = [row for row in table.rows if rename(str(row[label])) in spec.labels]
    if not rows:
        raise BadInput(f"no row of {file} has a label of head {spec.name!r}: {', '.join(spec.labels[:20])}")
    texts, truth = [str(row[text]) for row in rows], [rename(str(row[label])) for row in rows]

    def predict(batch: list[str]) -> list[str]:
        return [spec.labels[i] for i in served.logits(batch)[spec.name].argmax(1)]

    said = predict(texts)
    named = f"accuracy of `{spec.name}` on {file.name}"
    tables: Tables = {f"Slices: {named}": _slices(rows, texts, truth, said, groups)}
    if groups:
        tables[f"Groups: differences in `{spec.name}`"] = _gaps(rows, truth, said, groups, wanted)
    tables[f"Robustness: {named}"] = _drops(predict, rows, texts, truth)
    return tables


def _classify_head(served: TextModel, name: str | None) -> HeadSpec:
    fitting = [h for h in served.heads.values() if h.kind == "classify" and name in (None, h.name)]
    if not fitting:
        raise BadInput(f"a classify head is needed to measure; this model has {', '.join(served.heads)}")
    return fitting[0]


def _columns(model: Model, spec: HeadSpec) -> tuple[str, str, Any]:
    recipe = model.recipe()
    head = recipe.heads[spec.name]
    return recipe.data[str(head.data)].text, head.target, lambda label: recipe.rename(spec.name, label)


def _slices(
    rows: Sequence[Mapping[str, Any]],
    texts: list[str],
    truth: list[str],
    said: list[str],
    groups: Sequence[str],
) -> list[dict[str, Any]]:
    parts: dict[str, Sequence[Any]] = {"length": length_names(texts), "label": truth}
    for column in (SOURCE, *groups):
        if any(row.get(column) is not None for row in rows):
            parts[column] = [row.get(column) for row in rows]
    return [
        {"by": by, **one._asdict()}
        for by, names in parts.items()
        for one in sliced(accuracy, names, truth, said)
    ]


def _gaps(
    rows: Sequence[Mapping[str, Any]],
    truth: list[str],
    said: list[str],
    groups: Sequence[str],
    wanted: str | None,
) -> list[dict[str, Any]]:
    return [
        {"by": column, **gap._asdict()}
        for column in groups
        for gap in gaps(truth, said, [row.get(column) for row in rows], wanted=wanted or "")
        if wanted is not None or gap.measure == "accuracy"
    ]


def _drops(
    predict: Any, rows: Sequence[Mapping[str, Any]], texts: list[str], truth: list[str]
) -> list[dict[str, Any]]:
    said_again = [str(row.get(PARAPHRASE) or "") for row in rows]
    rewritten = {PARAPHRASE: said_again} if any(said_again) else {}
    measured = drops(accuracy, predict, texts, truth, rewritten=rewritten)
    return [one._asdict() for one in measured]
