"""Labelled rows: read, mapped to the three sentiments, and split by text."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.data import LINE, keep_rejected, read_rows, split
from services.sentiment.domain import ALL, LABELS
from services.sentiment.score import SENTIMENT, TOPICS
from shared.errors import BadInput
from shared.finetuning.recipe import Recipe
from shared.telemetry import logger

FEWEST = 30  # rows of a file; with fewer a side of the split may be empty
_LOG = logger(__name__)


@dataclass(frozen=True)
class Labelled:
    """Rows {text, sentiment, topics (a list)} by side; `has_topics` is whether any row names one."""

    train: list[dict[str, Any]]
    valid: list[dict[str, Any]]
    test: list[dict[str, Any]]
    sha256: str
    has_topics: bool


def read_labelled(path: Path, recipe: Recipe, home: Path) -> Labelled:
    """Read text,sentiment[,topics]; rows that can't be read are kept aside.

    Raises BadInput for a label that is none of the three and not mapped in the recipe, with its
    line, for too few rows, and for a side of the split that lacks a sentiment.
    """
    table = read_rows(path, required=("text", "sentiment"), optional=("topics",))
    kept = keep_rejected(table, home)
    if kept is not None:
        _LOG.warning("rows_rejected", count=len(table.refused), kept=str(kept))
    rows: list[dict[str, Any]] = [
        {
            "text": str(row["text"]),
            "sentiment": _sentiment(row["sentiment"], recipe, row[LINE]),
            "topics": _topics(row["topics"], recipe, row[LINE]),
        }
        for row in table.rows
    ]
    if len(rows) < FEWEST:
        raise BadInput(f"{path} has {len(rows)} usable rows; at least {FEWEST} are needed to train and judge")
    sides: dict[str, list[dict[str, Any]]] = {"train": [], "valid": [], "test": []}
    for row in rows:
        sides[split(row["text"])].append(row)
    _require_all(path, sides["train"])
    for name in ("valid", "test"):
        if not sides[name]:
            raise BadInput(
                f"{path} leaves no row for the {name} part (15 % by text); give more distinct texts"
            )
    return Labelled(**sides, sha256=table.sha256, has_topics=any(row["topics"] for row in rows))


def _sentiment(value: Any, recipe: Recipe, line: int) -> str:
    came = str(value).strip()
    wanted = recipe.rename(SENTIMENT, came).strip().lower()
    if wanted not in LABELS:
        raise BadInput(
            f"label {came!r} is not one of {', '.join(LABELS)}; map it in [labels] of the recipe or drop the "
            f"row (line {line})"
        )
    return wanted


def _topics(value: Any, recipe: Recipe, line: int) -> list[str]:
    parts: Sequence[Any] = value if isinstance(value, list) else str(value or "").split("|")
    found = [recipe.rename(TOPICS, str(part).strip()) for part in parts if str(part).strip()]
    if ALL in found or any(len(name) > 100 for name in found):
        raise BadInput(
            f"line {line}: a topic's name has up to 100 characters and is not {ALL!r}: that counts all items"
        )
    return list(dict.fromkeys(found))


def _require_all(path: Path, train: Sequence[dict[str, Any]]) -> None:
    there = Counter(row["sentiment"] for row in train)
    missing = [label for label in LABELS if not there[label]]
    if missing:
        raise BadInput(
            f"{path} has no training row that is {' or '.join(missing)}; add some of each sentiment"
        )
