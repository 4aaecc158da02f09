"""Plain text out of Markdown, HTML and text files: a paragraph, heading or list entry a line."""

import re
import unicodedata
from html.parser import HTMLParser
from typing import NamedTuple

from markdown_it import MarkdownIt

_SKIP = frozenset({"script", "style", "noscript", "template", "nav", "svg", "iframe", "button", "select"})
_BLOCK = frozenset(
    "address article aside blockquote body dd details div dl dt fieldset figcaption figure footer form "
    "h1 h2 h3 h4 h5 h6 header hr li main ol p pre section summary table tbody td th thead tr ul".split()
)
_BLANKS = re.compile(r"[^\S\n]+")
_MARKER = re.compile(r"(?:[-*•]|\d{1,3}[.)])\s")
_FULL_LINE = 55  # a line this long was most likely broken by an editor, not by its author


class Cleaned(NamedTuple):
    """`title` is the page's own (first h1, else the HTML title), and not repeated in `text`."""

    title: str | None
    text: str


def plain(text: str) -> str:
    """Return `text` with single blanks, no control characters, and hard-wrapped paragraphs joined."""
    lines = [_BLANKS.sub(" ", line).strip() for line in _printable(text).split("\n")]
    joined: list[str] = []
    for line, before in zip(lines, ["", *lines], strict=False):
        wrapped = len(before) >= _FULL_LINE and line and not _MARKER.match(line)
        if wrapped and joined:
            joined[-1] += " " + line
        else:
            joined.append(line)
    return re.sub(r"\n{3,}", "\n\n", "\n".join(joined)).strip()


def html(source: str) -> Cleaned:
    """Return the readable text of an HTML page or fragment; scripts, styles and menus are dropped."""
    reader = _Reader()
    reader.feed(_printable(source))
    reader.close()
    return Cleaned(reader.title(), reader.text())


def markdown(source: str) -> Cleaned:
    """Return the text of a Markdown page: no marks, no addresses of links, no pictures."""
    return html(MarkdownIt("commonmark").enable("table").render(_printable(source)))


def front_matter(source: str) -> tuple[dict[str, str | list[str]], str]:
    """Split off a leading `---` block of `key: value` lines (`[a, b]` is a list), ({}, source) without."""
    match = re.match(r"\A\ufeff?---[ \t]*\r?\n(.*?)\r?\n---[ \t]*(?:\r?\n|\Z)", source, re.DOTALL)
    if not match:
        return {}, source
    fields: dict[str, str | list[str]] = {}
    for line in match.group(1).splitlines():
        name, colon, value = line.partition(":")
        if not colon:
            return {}, source  # not a header, only a page that begins with a rule
        value = value.strip()
        if value.startswith("[") and value.endswith("]"):
            parts = (part.strip().strip("\"'") for part in value[1:-1].split(","))
            fields[name.strip()] = [part for part in parts if part]
        else:
            fields[name.strip()] = value.strip("\"'")
    return fields, source[match.end() :]


def _printable(text: str) -> str:
    text = unicodedata.normalize("NFC", text.removeprefix("\ufeff")).replace("\r\n", "\n").replace("\r", "\n")
    kept = (c for c in text if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cs"))
    return "".join(kept)


class _Reader(HTMLParser):
    """Collects lines; counts the entries of numbered lists; keeps the first h1 apart."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._lines: list[str] = [""]
        self._skipping = 0
        self._lists: list[int | None] = []
        self._in: str | None = None  # "title" or "h1" while their text is being read
        self._own: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Open a block, a list entry or a part that is skipped."""
        if tag in _SKIP:
            self._skipping += 1
        elif tag == "title" or (tag == "h1" and "h1" not in self._own):
            self._break(blank=True)
            self._in = tag
            self._own[tag] = ""
        elif tag in ("ol", "ul"):
            self._lists.append(0 if tag == "ol" else None)
            self._break()
        elif tag == "li":
            self._break()
            self._lines[-1] = self._bullet()
        elif tag == "br":
            self._break()
        elif tag in ("td", "th"):
            self._lines[-1] += " | " if self._lines[-1].strip() else ""
        elif tag in _BLOCK and not (tag == "p" and self._at_bullet()):
            self._break(blank=tag in ("p", "h1", "h2", "h3", "h4", "h5", "h6", "table"))

    def handle_endtag(self, tag: str) -> None:
        """Close what the start tag opened."""
        if tag in _SKIP:
            self._skipping = max(0, self._skipping - 1)
        elif tag == self._in:
            self._in = None
        elif tag in ("ol", "ul"):
            if self._lists:
                self._lists.pop()
            self._break(blank=not self._lists)
        elif tag in _BLOCK and tag not in ("td", "th"):
            self._break()

    def handle_data(self, data: str) -> None:
        """Add text to the open line."""
        if self._skipping:
            return
        if self._in:
            self._own[self._in] += data
        else:
            self._lines[-1] += data.replace("\n", " ")

    def title(self) -> str | None:
        """Return the h1, else the title element, else None."""
        found = (" ".join(self._own.get(tag, "").split()) for tag in ("h1", "title"))
        return next((text for text in found if text), None)

    def text(self) -> str:
        """Return the lines read so far; never two empty ones in a row."""
        lines = [_BLANKS.sub(" ", line).strip() for line in self._lines]
        return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()

    def _bullet(self) -> str:
        count = self._lists[-1] if self._lists else None
        if count is None:
            return "- "
        self._lists[-1] = count + 1
        return f"{count + 1}. "

    def _at_bullet(self) -> bool:
        return bool(_MARKER.fullmatch(self._lines[-1].strip() + " "))

    def _break(self, *, blank: bool = False) -> None:
        if self._lines[-1].strip():
            self._lines.append("")
        if blank and len(self._lines) > 1 and self._lines[-2].strip():
            self._lines.append("")
