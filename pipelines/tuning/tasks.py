"""The tasks that `finetune` knows: which columns their files have, and what head learns from them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipelines.data import LINE, Rejected, Table, keep_rejected, normalised, read_rows
from pipelines.reading.formats import SUFFIXES
from pipelines.tuning.conll import read_conll
from shared.errors import BadInput
from shared.finetuning import cells
from shared.finetuning.examples import labels_of
from shared.telemetry import logger

_LOG = logger(__name__)


@dataclass(frozen=True)
class Task:
    """What the files of a task look like.

    `texts` are the columns that are read, `target` those that are to be learnt (a blank one makes a row bad,
    unless it is in `blank`), `other` may be there. `verbatim` columns are kept to the character. `parts` are
    the tasks of several heads that read the same rows.
    """

    name: str
    texts: tuple[str, ...]
    target: tuple[str, ...] = ()
    other: tuple[str, ...] = ()
    blank: tuple[str, ...] = ()
    verbatim: tuple[str, ...] = ()
    parts: tuple["Task", ...] = ()

    @property
    def required(self) -> list[str]:
        """The columns that a row of a training file must have a value in."""
        return [*self.texts, *(column for column in self.target if column not in self.blank)]


TASKS = {
    task.name: task
    for task in (
        Task("classify", ("text",), ("label",)),
        Task("multilabel", ("text",), ("label",), blank=("label",)),
        Task("regress", ("text",), ("label",)),
        Task("tag", ("tokens",), ("tags",)),
        Task("entity", ("text",), ("spans",), verbatim=("text",)),
        Task("span", ("question", "context"), ("answer",), ("start",), ("answer",), ("context", "answer")),
        Task("embed", ("anchor", "positive"), (), ("negative", "label")),
        Task("score", ("query", "text"), ("label",)),
        Task("mlm", ("text",)),
        Task("generate", ("question",), ("reply",), ("context",)),
    )
}


def task_name(kind: str) -> str:
    """Return the task whose files a head of this kind learns from."""
    return "score" if kind == "similarity" else kind


def named(task: Task, text_column: str | None, label_column: str | None) -> Task:
    """Return the task with other names for its one text and its label; raises BadInput where it has none."""
    if text_column:
        if "text" not in task.texts:
            raise BadInput(
                f"task {task.name} reads the columns {', '.join(task.texts)}; rename them in the file"
            )
        names = tuple(text_column if column == "text" else column for column in task.texts)
        verbatim = tuple(text_column if column == "text" else column for column in task.verbatim)
        task = replace(task, texts=names, verbatim=verbatim)
    if label_column:
        if len(task.target) != 1:
            raise BadInput(f"task {task.name} has no label column; leave --label-column out")
        task = replace(task, target=(label_column,), blank=(label_column,) if task.blank else ())
    return task


def read_task(task: Task, path: Path, home: Path, *, learn: bool = True) -> Table:
    """Return the rows of a file of this task; bad ones are kept aside and said.

    `learn` False reads a file without the columns that are to be learnt. Raises what `read_rows` does.
    """
    if task.name == "tag" and _suffix(path) not in SUFFIXES:
        table = read_conll(path, tagged=learn)
    else:
        required = task.required if learn else list(task.texts)
        optional = [column for column in (*task.target, *task.other) if column not in required]
        table = read_rows(path, required=required, optional=optional, verbatim=task.verbatim)
    table = _checked(task, table, learn)
    kept = keep_rejected(table, home)
    if kept:
        line, why = table.rejected[0]
        _LOG.warning(
            "rows were rejected",
            file=str(path),
            rows=len(table.rejected),
            first=f"line {line}: {why}",
            kept=str(kept),
        )
    return table


def _suffix(path: Path) -> str:
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() != ".gz"]
    return suffixes[-1] if suffixes else ""


def _checked(task: Task, table: Table, learn: bool) -> Table:
    """Bring cells of structure into one form; a row that can't be learnt from is rejected with its line."""
    rows: list[dict[str, Any]] = []
    for row in table.rows:
        try:
            rows.append(_formed(task, row, learn))
        except (BadInput, TypeError, ValueError, KeyError) as error:
            table.refused.append(Rejected(row[LINE], str(error), json.dumps(row, default=str)[:10_000]))
    table.refused.sort(key=lambda one: one.line)
    if not rows:
        line, why = table.rejected[0]
        raise BadInput(
            f"none of the {len(table.refused)} rows of {table.path} can be used; line {line}: {why}"
        )
    return replace(table, rows=rows)


def _formed(task: Task, row: Mapping[str, Any], learn: bool) -> dict[str, Any]:
    """Return a row with its cells of structure as lists, numbers and spans.

    Without `learn` what is to be learnt stays as it is. Raises BadInput, TypeError, ValueError or KeyError,
    each with the reason, for a row that a head of this task can't learn from.
    """
    found = {name: value for name, value in row.items() if name != LINE}  # the caller tells the line
    for part in task.parts or (task,):
        _form(part, found, learn, alone=not task.parts)
    return {**found, **({LINE: row[LINE]} if LINE in row else {})}


def _form(task: Task, row: dict[str, Any], learn: bool, alone: bool) -> None:
    column = task.target[0] if task.target else ""
    if row.get(column) == "" and task.name != "multilabel":
        row[column] = None  # CSV has no other word for a cell that says nothing
    if task.name == "tag" and row.get("tokens") is not None:
        row["tokens"] = [str(one) for one in _list(row["tokens"], "tokens")]
    if task.name == "entity" and row.get(column) is not None:
        row[column] = [_span(one, learn) for one in _list(row[column], column)]
        cells.places(row, str(row.get(task.texts[0]) or ""), row[column])
    if not learn:
        return
    if task.name == "span":
        cells.answer(row)
    elif task.name == "multilabel":
        # A cell that is not there says "none of them" to a head that reads alone, else nothing.
        row[column] = labels_of(_parsed(row.get(column))) if alone or row.get(column) is not None else None
    elif row.get(column) is None:
        return
    elif task.name == "tag":
        row[column] = [cells.bio(str(one)) for one in _list(row[column], column)]
        cells.tag_a_token(row, row["tokens"], row[column])
    elif task.name == "regress":
        row[column] = cells.number(row, column)
    elif task.name == "score":
        row[column] = cells.grade(row, column)


def _parsed(value: Any) -> Any:
    if isinstance(value, str) and value.startswith("["):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def _list(value: Any, column: str) -> list[Any]:
    parsed = _parsed(value)
    if not isinstance(parsed, list):
        raise TypeError(f"{column} is {type(value).__name__}, not a list")
    return parsed


def _span(one: Any, learn: bool) -> dict[str, Any]:
    if not isinstance(one, Mapping) or not {"start", "end"} <= set(one):
        raise ValueError("a span is {start, end, label}")
    label = str(one.get("label") or "").strip()
    if learn and not label:
        raise ValueError(f"the span {one['start']} to {one['end']} has no label")
    return {"start": int(one["start"]), "end": int(one["end"]), "label": label}


def key_text(task: Task, row: Mapping[str, Any]) -> str:
    """Return the text by which a row is put on a side: rows with the same one stay together."""
    value = row.get(task.texts[0])
    return normalised(" ".join(map(str, value)) if isinstance(value, list) else str(value))
