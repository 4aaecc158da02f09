"""The recipe that `finetune` takes when the user gives none: by the task and the size of the data."""

from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.tuning.tasks import Task
from shared.finetuning.label_names import telling

ROWS = "rows"  # the one data source of such a recipe
FEW = 20  # rows a label, up to which the label's own name teaches something
MANY_PAIRS = 3000  # rows, from which reading two texts together learns more than comparing their vectors
SOME = 3000  # rows, from which the validation rows are too small a part to be worth a second run

_WORDS = {"label_smoothing": 0.0, "rate": 2e-4, "head_rate": 2e-3, "blend": "auto", "patience": None}
_TRAIN: dict[str, dict[str, Any]] = {
    "regress": {"label_smoothing": 0.0},
    "tag": _WORDS,
    "entity": _WORDS,
    "span": {"epochs": 3, "label_smoothing": 0.0, "head_rate": 2e-3},
    "score": {"rate": 1e-4, "label_smoothing": 0.0},
    "similarity": {"epochs": 10, "rate": 5e-5, "label_smoothing": 0.0, "blend": 0.7, "patience": None},
    "embed": {"epochs": 3, "label_smoothing": 0.0, "batch": 64},
    "mlm": {"epochs": 3, "label_smoothing": 0.0, "rate": 1e-4, "patience": None},
}


def default_recipe(
    task: Task, data: Sequence[Mapping[str, Any]], *, base: str, seed: int, refit: bool
) -> dict[str, Any]:
    """Return a recipe as a tree, for these rows; `refit` where validation rows may be learnt too.

    Beside the head of the task a model of single texts gives its vector: explanations, label suggestions
    and the refusal of foreign texts need it, and it costs nothing.
    """
    kind, rows, few = task.name, len(data), False
    head: dict[str, Any] = {"kind": kind, "data": ROWS}
    if task.target and kind != "span":
        head["label"] = task.target[0]
    if kind == "classify":
        labels = {str(row.get(task.target[0])) for row in data}
        few = rows <= FEW * len(labels)
        head["names"] = few and telling(sorted(labels))
    heads = {"vector" if kind == "embed" else task.name: head}
    if kind == "score" and rows < MANY_PAIRS:
        kind = head["kind"] = "similarity"
    if kind not in ("span", "embed", "mlm", "score"):
        heads["vector"] = {"kind": "embed"}
    train = {"seed": seed, **_TRAIN.get(kind, {})}
    if kind in ("classify", "multilabel", "regress"):
        train |= {**_by_size(kind, rows, few or rows < 1000), "refit": refit and rows < SOME}
    if kind == "similarity":
        train["refit"] = refit
    if kind in ("tag", "entity"):
        train |= {"epochs": max(3, min(12, 12_000 // max(1, rows))), "refit": refit and rows < SOME}
    source = {"text": task.texts[0]} if task.name not in ("span", "score", "embed", "tag") else {}
    found = {"base": base, "data": {ROWS: source}, "heads": heads, "train": train}
    how = {"classify": {"c": "auto"}, "tag": {"depth": "auto"}, "entity": {"depth": "auto"}}
    return {**found, "method": {"kind": "full", **how[kind]}} if kind in how else found


def _by_size(kind: str, rows: int, few: bool) -> dict[str, Any]:
    # Chosen on held-out training rows of public sets: intents (5, 10 and 130 rows a label), news sentiment,
    # Chinese topics. Weights between the frozen start and the tuned end often do better than either: half of
    # each for many labels, nearly all of the end for three labels with a thousand rows each. Of few rows the
    # contrastive loss teaches more than labels alone, three times its weight no more, and fewer passes at
    # twice the rate lose where a label has five.
    if not few:
        return {"epochs": 5, "rate": 1e-4 if rows >= 6000 else 1.5e-4, "blend": "auto", "patience": None}
    if kind == "regress":
        return {"epochs": 10, "rate": 1e-4, "blend": "auto", "patience": None}
    found: dict[str, Any] = {"epochs": 10, "blend": 0.7, "patience": None}
    return {**found, "contrast": 1.0} if kind == "classify" else found
