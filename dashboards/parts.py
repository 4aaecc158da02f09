"""Short read-only rows and marks as escaped HTML; nothing that came from outside reaches a page unescaped."""

import html
import re
from collections.abc import Iterable, Sequence
from typing import Literal

import streamlit as st

TONES = ("red", "orange", "green", "blue", "gray")
_MARK = re.compile(r"\[(\d{1,2})\]")


def show(*pieces: str, width: Literal["stretch", "content"] = "stretch") -> None:
    """Put ready HTML on the page, all in one element; every outside value in it must be escaped already."""
    st.html("".join(pieces), width=width)


def safe(value: object) -> str:
    """Return `value` as text that HTML shows as it is."""
    return html.escape(str(value), quote=True)


def tag(kind: str, content: str, *classes: str, title: str | None = None) -> str:
    """Return an element around ready HTML."""
    label = f' title="{safe(title)}"' if title else ""
    return f'<{kind} class="{" ".join(classes)}"{label}>{content}</{kind}>'


def badge(text: str, tone: str = "gray", sign: str = "") -> str:
    """Return a small label; `sign` is a character beside the word, so that colour is never alone."""
    return tag("span", f"{safe(sign)}{' ' if sign else ''}{safe(text)}", "tr-badge", f"tr-{tone}")


def heading(text: str, note: str = "", *right: str) -> str:
    """Return the title line of a pane, with a muted note and ready HTML at its right end."""
    left = tag("span", safe(text), "tr-title") + (tag("span", safe(note), "tr-note") if note else "")
    return tag("div", tag("div", left) + tag("div", "".join(right), "tr-right"), "tr-head")


def page_title(text: str, note: str = "") -> str:
    """Return the one large title of a page."""
    return tag(
        "div",
        tag("h1", safe(text), "tr-h1") + (tag("span", safe(note), "tr-note") if note else ""),
        "tr-page",
    )


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """Return a muted line of facts, `name value` joined by middle dots."""
    return tag("div", " · ".join(safe(f"{name} {value}".strip()) for name, value in pairs), "tr-facts")


def metrics(cells: Sequence[tuple[str, str, str]]) -> str:
    """Return a grid of figures: name, value with unit, and what it is measured against."""
    made = "".join(
        tag(
            "div",
            tag("div", safe(name), "tr-name")
            + tag("div", safe(value), "tr-value")
            + (tag("div", safe(note), "tr-sub") if note else ""),
        )
        for name, value, note in cells
    )
    return tag("div", made, "tr-metrics")


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, right: Sequence[int] = ()) -> str:
    """Return a short table of ready HTML cells; columns in `right` hold numbers."""
    side = ["tr-num" if place in right else "tr-cell" for place in range(len(head))]
    top = tag("tr", "".join(tag("th", safe(name), kind) for name, kind in zip(head, side, strict=True)))
    body = "".join(
        tag("tr", "".join(tag("td", cell, kind) for cell, kind in zip(row, side, strict=True)))
        for row in rows
    )
    return tag("table", f"<thead>{top}</thead><tbody>{body}</tbody>", "tr-table")


def with_marks(text: str, known: int) -> str:
    """Return `text` escaped, with the marks [1] to [known] set apart; the raw text is cut first."""
    pieces, at = [], 0
    for found in _MARK.finditer(text):
        if 1 <= int(found[1]) <= known:
            pieces += [safe(text[at : found.start()]), tag("span", found[0], "tr-cite")]
            at = found.end()
    return "".join(pieces) + safe(text[at:])


def bar(share: float) -> str:
    """Return a thin bar, `share` 0 to 1 of its width."""
    return f'<span class="tr-bar"><i style="width:{max(0.0, min(1.0, share)) * 100:.0f}%"></i></span>'
