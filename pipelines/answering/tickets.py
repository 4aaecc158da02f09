"""Resolved tickets: question, intent and, where it is known, the best reply."""

import random
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.data import keep_rejected, read_rows, split
from shared.errors import BadInput
from shared.telemetry import logger

COLUMNS = ("question", "intent")
AGREED = 2  # tickets that must carry the same reply before it may be sent as a template
_LOG = logger(__name__)


@dataclass(frozen=True)
class Tickets:
    """The rows by side; each has `question`, `intent`, `reply` (may be empty) and `positive`."""

    train: list[dict[str, Any]]
    valid: list[dict[str, Any]]
    test: list[dict[str, Any]]
    sha256: str

    @property
    def intents(self) -> list[str]:
        """The intents of the training side, sorted."""
        return sorted({row["intent"] for row in self.train})


def read_tickets(path: Path, home: Path, *, seed: int) -> Tickets:
    """Read tickets and split them 70/15/15 by the text of the question.

    Rows that can't be used are kept aside. Raises BadInput when fewer than two intents or no held-out
    row is left.
    """
    aliases = {"text": "question", "label": "intent", "category": "intent", "answer": "reply"}
    table = read_rows(path, required=COLUMNS, optional=["reply"], aliases=aliases)
    if table.rejected:
        kept = keep_rejected(table, home)
        _LOG.warning(
            "rows rejected", count=len(table.rejected), first_line=table.rejected[0][0], kept=str(kept)
        )
    sides: dict[str, list[dict[str, Any]]] = {"train": [], "valid": [], "test": []}
    for row in table.rows:
        one = {name: str(row.get(name) or "").strip() for name in (*COLUMNS, "reply")}
        sides[split(one["question"])].append(one)
    intents = {row["intent"] for row in sides["train"]}
    if len(intents) < 2 or not sides["valid"] or not sides["test"]:
        raise BadInput(
            f"{path}: {len(table.rows)} usable tickets over {len(intents)} intents are too few to learn from "
            "and to judge; give at least two intents and some dozens of questions"
        )
    for name in ("valid", "test"):  # an intent without a training row can't be judged
        sides[name] = [row for row in sides[name] if row["intent"] in intents]
    _pair(sides["train"], seed)
    _pair(sides["valid"], seed)
    return Tickets(sides["train"], sides["valid"], sides["test"], table.sha256)


def _pair(rows: list[dict[str, Any]], seed: int) -> None:
    """Give each row a positive: its reply, else another question of its intent."""
    rng = random.Random(seed)  # noqa: S311 - no secret
    by_intent: dict[str, list[str]] = {}
    for row in rows:
        by_intent.setdefault(row["intent"], []).append(row["question"])
    for row in rows:
        others = [text for text in by_intent[row["intent"]] if text != row["question"]]
        row["positive"] = row["reply"] or (rng.choice(others) if others else "")


def replies(tickets: Tickets) -> dict[str, str]:
    """Return for each intent the reply that most of its tickets carry, when at least two agree on it."""
    found = {}
    for intent in tickets.intents:
        said = Counter(row["reply"] for row in tickets.train if row["intent"] == intent and row["reply"])
        top = sorted(said.items(), key=lambda one: (-one[1], one[0]))[:1]
        if top and top[0][1] >= AGREED:
            found[intent] = top[0][0]
    return found
