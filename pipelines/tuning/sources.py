"""The rows of a recipe's data: read, held out, and those that belong to no label put beside."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines.tuning.sides import hold_out
from pipelines.tuning.tasks import TASKS, Task, named, read_task, task_name
from shared.errors import BadInput
from shared.finetuning.recipe import Recipe
from shared.finetuning.rows import Rows

Row = Mapping[str, Any]


@dataclass
class Given:
    """Rows by data source for training and test, and the rows of the out-of-scope label on each side."""

    data: dict[str, Rows] = field(default_factory=dict)
    test: dict[str, list[Row]] = field(default_factory=dict)
    foreign: dict[str, list[Row]] = field(default_factory=lambda: {"train": [], "valid": [], "test": []})


def from_files(
    task: Task, name: str, train: Sequence[Path], valid: Sequence[Path], test: Sequence[Path], home: Path
) -> Given:
    """Return the rows of one source; without validation files a part of the training rows is held out."""
    rows, kept, unseen = (_all(task, files, home) for files in (train, valid, test))
    if not valid:
        rows, kept = hold_out(task, rows)
    return Given({name: Rows(rows, kept)}, {name: unseen})


def _all(task: Task, files: Sequence[Path], home: Path) -> list[Row]:
    return [row for path in files for row in read_task(task, path, home).rows]


def from_recipe(recipe: Recipe, home: Path, beside: Path) -> Given:
    """Return the rows of every source of a recipe; relative file names are looked for from `beside`.

    Where one head alone reads a source its column must be filled; where several do, each learns from the
    rows that have something for it. Raises BadInput for a source without files.
    """
    found = Given()
    for name, source in recipe.data.items():
        if not source.files:
            raise BadInput(f"data.{name} of the recipe names no files; add files = [...]")
        train, valid, test = (
            [beside / file for file in part] for part in (source.files, source.valid, source.test)
        )
        if name in unlabelled_sources(recipe):
            if valid or test:
                raise BadInput(f"data.{name} of the recipe has no labels; leave its valid and test files out")
            found.data[name] = Rows(_all(_task_of("mlm", source.text, ""), train, home))
            continue
        tasks = [
            _task_of(head.kind, source.text, head.label)
            for head in recipe.heads.values()
            if head.data == name or (head.data and recipe.continual and recipe.continual.data == name)
        ]
        if not tasks:
            raise BadInput(f"data.{name} of the recipe is read by no head; remove it or name it in a head")
        task = tasks[0] if len(tasks) == 1 else _joined(tasks)
        one = from_files(task, name, train, valid, test, home)
        found.data |= one.data
        found.test |= one.test
    return found


def unlabelled_sources(recipe: Recipe) -> set[str]:
    """Return the names of the data whose texts alone are read: no head learns from them by their labels."""
    named = [part.data for part in (recipe.unlabelled, recipe.distil) if part is not None]
    read = {head.data for head in recipe.heads.values()}
    return {name for name in named if name is not None and name not in read}


def _task_of(kind: str, text: str, label: str) -> Task:
    task = TASKS[task_name(kind)]
    return named(
        task,
        text if "text" in task.texts and text != "text" else None,
        label if label and task.target else None,
    )


def _joined(tasks: Sequence[Task]) -> Task:
    texts = list(dict.fromkeys(column for task in tasks for column in task.texts))
    rest = tuple(dict.fromkeys(c for task in tasks for c in (*task.target, *task.other) if c not in texts))
    verbatim = tuple(dict.fromkeys(column for task in tasks for column in task.verbatim))
    return Task("several", tuple(texts), rest, blank=rest, verbatim=verbatim, parts=tuple(tasks))


def without_label(given: Given, source: str, column: str, label: str) -> Given:
    """Move the rows of `label` aside: they belong to no class. Raises BadInput when no row is left."""
    found = Given(test=dict(given.test))
    rows = given.data[source]
    sides = {"train": rows.train, "valid": rows.valid, "test": given.test.get(source, [])}
    kept = {}
    for side, own in sides.items():
        found.foreign[side] = [row for row in own if str(row.get(column)) == label]
        kept[side] = [row for row in own if str(row.get(column)) != label]
    if not kept["train"]:
        raise BadInput(f"every training row has the out-of-scope label {label!r}; give rows of other labels")
    found.data = {source: Rows(kept["train"], kept["valid"])}
    found.test = {source: kept["test"]}
    return found
