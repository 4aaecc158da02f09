"""What the cells of a row say that a head should learn, checked: numbers, grades, answers, spans, tags.

A row that has its line in `_line` names it in its errors.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from shared.errors import BadInput
from shared.models.heads import OUTSIDE

Row = Mapping[str, Any]
_BIO = {"B": "B", "I": "I", "S": "B", "U": "B", "E": "I", "L": "I"}  # BIOES and BILOU say more than is learnt


def number(row: Row, column: str) -> float:
    """Return the number in a column; raises BadInput for none, NaN and infinity."""
    try:
        value = float(row[column])
    except (TypeError, ValueError):
        value = float("nan")
    if not np.isfinite(value):
        raise BadInput(f"{row[column]!r}{at(row)} in column {column!r} is no number")
    return value


def grade(row: Row, column: str) -> float:
    """Return the number in a column; raises BadInput unless it is from 0 to 1."""
    value = number(row, column)
    if not 0 <= value <= 1:
        raise BadInput(f"score {value:g}{at(row)} in column {column!r} is not between 0 and 1")
    return value


def answer(row: Row) -> tuple[int, int]:
    """Return where a row's `answer` stands in its `context`, in characters; (0, 0) for no answer.

    Without `start` it is the first place where it stands. Raises BadInput where it stands nowhere, or not
    there.
    """
    said, context = str(row.get("answer") or ""), str(row.get("context") or "")
    if not said:
        return (0, 0)
    given = row.get("start")
    try:
        start = context.find(said) if given in (None, "") else int(str(given))
    except ValueError as error:
        raise BadInput(f"start {given!r}{at(row)} is no character of the context") from error
    if start < 0 or context[start : start + len(said)] != said:
        where = f"at character {start} of" if start >= 0 else "in"
        raise BadInput(f"the answer {said[:60]!r}{at(row)} does not stand {where} its context")
    return (start, start + len(said))


def places(row: Row, text: str, spans: Sequence[Mapping[str, Any]]) -> list[tuple[int, int]]:
    """Return start and end of each span in characters of `text`; raises BadInput for one outside it."""
    found = [(int(span["start"]), int(span["end"])) for span in spans]
    for start, end in found:
        if not 0 <= start < end <= len(text):
            raise BadInput(
                f"a span{at(row)} is {start} to {end}; its text has {len(text)} characters, "
                "and the end comes after the start"
            )
    return found


def bio(tag: str) -> str:
    """Return a tag in BIO, from BIO, BIOES or BILOU; raises BadInput for any other."""
    if tag == OUTSIDE:
        return tag
    mark, dash, kind = tag[:1], tag[1:2], tag[2:]
    if mark not in _BIO or dash != "-" or not kind:
        raise BadInput(
            f"tag {tag!r} is no BIO tag; allowed are O, B-KIND and I-KIND, also in BIOES and BILOU"
        )
    return f"{_BIO[mark]}-{kind}"


def tag_a_token(row: Row, tokens: Sequence[Any], tags: Sequence[Any]) -> None:
    """Raise BadInput unless there are as many tags as tokens."""
    if len(tokens) != len(tags):
        raise BadInput(f"a row{at(row)} has {len(tokens)} tokens and {len(tags)} tags; give one tag a token")


def at(row: Row) -> str:
    """Return the row's line as errors say it, nothing where it is not known."""
    return f" (line {row['_line']})" if "_line" in row else ""
