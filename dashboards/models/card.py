"""The Markdown of a model card as escaped HTML: its labels come from people's files, so no link, no image."""

import re
from collections.abc import Iterator, Sequence
from itertools import groupby

from dashboards.parts import safe, table, tag

_STRONG = re.compile(r"\*\*(.+?)\*\*|`([^`]+)`")
_RULE = re.compile(r"\|(?:\s*:?-+:?\s*\|)+")
_CELLS = re.compile(r"(?<!\\)\|")
_NUMBER = re.compile(r"-?[\d.,]+(?:e-?\d+)?(?: to -?[\d.,]+(?:e-?\d+)?)?")


def html_of(markdown: str) -> str:
    """Return titles, paragraphs, lists, tables and code of `markdown` as HTML; all else stays as written."""
    return tag("div", "".join(_blocks(markdown.splitlines())), "tr-card")


def _blocks(lines: Sequence[str]) -> Iterator[str]:
    fenced = False
    code: list[str] = []
    rest: list[str] = []
    for line in lines:
        if line.startswith("```"):
            if fenced:
                yield tag("pre", safe("\n".join(code)), "tr-code")
                code = []
            else:
                yield from _text(rest)
                rest = []
            fenced = not fenced
        else:
            (code if fenced else rest).append(line)
    yield from _text([*rest, *code])


def _kind(line: str) -> str:
    if not line.strip():
        return "blank"
    for start, kind in (("#", "title"), ("- ", "list"), ("|", "table")):
        if line.startswith(start):
            return kind
    return "text"


def _text(lines: Sequence[str]) -> Iterator[str]:
    for kind, group in groupby(lines, _kind):
        own = list(group)
        if kind == "title":
            yield from (_title(line) for line in own)
        elif kind == "list":
            yield tag("ul", "".join(tag("li", _inline(line[2:])) for line in own))
        elif kind == "table":
            yield _table(own)
        elif kind == "text":
            yield tag("p", _inline(" ".join(own)))


def _title(line: str) -> str:
    depth = len(line) - len(line.lstrip("#"))
    return tag("h2" if depth == 1 else "h3", _inline(line[depth:].strip()))


def _table(lines: Sequence[str]) -> str:
    rows = [_cells(line) for line in lines if not _RULE.fullmatch(line.strip())]
    head, body = rows[0], [(row + [""] * len(rows[0]))[: len(rows[0])] for row in rows[1:]]
    right = [i for i in range(len(head)) if body and all(_NUMBER.fullmatch(row[i]) for row in body if row[i])]
    return table(head, [[_inline(cell) for cell in row] for row in body], right=right)


def _cells(line: str) -> list[str]:
    inner = line.strip().removeprefix("|").removesuffix("|")
    return [cell.strip().replace("\\|", "|") for cell in _CELLS.split(inner)]


def _inline(text: str) -> str:
    pieces, at = [], 0
    for found in _STRONG.finditer(text):
        kind = "b" if found[1] is not None else "code"
        pieces += [safe(text[at : found.start()]), tag(kind, safe(found[1] or found[2]))]
        at = found.end()
    return "".join(pieces) + safe(text[at:])
