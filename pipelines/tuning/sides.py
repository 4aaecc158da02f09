"""Hold rows out for validation: by hash, so that a row never changes sides, and every label on both."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.tuning.families import families
from pipelines.tuning.tasks import Task, key_text

Row = Mapping[str, Any]
MOST = 5000  # held out: tells accuracy to half a point


def share_of(rows: int) -> float:
    """Return the share that is held out of this many rows: a fifth of few, a tenth of 2,000 and more, MOST
    rows of very many, which each epoch reads again."""
    return 0.2 if rows < 500 else 0.15 if rows < 2000 else min(0.1, MOST / rows)


def hold_out(task: Task, rows: Sequence[Row], share: float | None = None) -> tuple[list[Row], list[Row]]:
    """Return (training, validation) rows, each in the order of the file.

    Rows of one text stay together. For classify each label gives its share of texts, never its last; a
    label of fewer than three texts gives none. Tagged rows that are one sentence with other names in it (see
    `families`) stay together too: a sentence whose twin was learnt says nothing of new ones. Which rows are
    held out follows from hashes of their texts.
    """
    wanted = share_of(len(rows)) if share is None else share
    held = (_families_held if task.name == "tag" else _texts_held)(task, rows, wanted)
    return [r for i, r in enumerate(rows) if i not in held], [rows[i] for i in sorted(held)]


def _texts_held(task: Task, rows: Sequence[Row], wanted: float) -> set[int]:
    groups: dict[str, dict[str, list[int]]] = {}
    seen: dict[str, str] = {}
    for i, row in enumerate(rows):
        text = key_text(task, row)
        stratum = seen.setdefault(text, str(row.get(task.target[0])) if task.name == "classify" else "")
        groups.setdefault(stratum, {}).setdefault(text, []).append(i)
    held: set[int] = set()
    for own in groups.values():
        texts = sorted(own, key=_draw)
        count = round(wanted * len(texts)) if len(texts) >= 3 else 0
        if task.name == "classify" and len(texts) >= 3:
            count = min(max(1, count), len(texts) - 1)
        held.update(i for text in texts[:count] for i in own[text])
    return held


def _families_held(task: Task, rows: Sequence[Row], wanted: float) -> set[int]:
    """Return whole families with about the wanted share of the rows.

    A family larger than that is a manner of writing, of which new rows will be too: its texts stand alone.
    """
    texts = [key_text(task, row) for row in rows]
    if len(set(texts)) < 3:
        return set()
    most = max(1, round(wanted * len(rows)))
    numbers = families(rows, task.target[0]).tolist()
    sizes = Counter(numbers)
    first = dict(zip(reversed(texts), reversed(numbers), strict=True))  # a text's first family is its own
    groups: dict[int | str, list[int]] = {}
    for i, text in enumerate(texts):
        family = first[text]
        groups.setdefault(family if sizes[family] <= most else text, []).append(i)
    held: set[int] = set()
    for own in sorted(groups.values(), key=lambda own: min(_draw(texts[i]) for i in own)):
        if len(held) < most and len(held) + len(own) <= 1.2 * most:
            held.update(own)
    return held


def _draw(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
