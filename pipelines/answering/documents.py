"""People's documents: Markdown, HTML and text files, JSON objects, JSON Lines."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines.data import Table, keep_rejected, read_rows
from shared.errors import BadInput, NotFound
from shared.storage.documents import NewDocument
from shared.text import clean

LARGEST = 5_000_000  # bytes of one file; a longer one is a database dump rather than a page


@dataclass
class Found:
    """The documents of a path, and the files that could not be read with why."""

    documents: list[NewDocument] = field(default_factory=list)
    rejected: list[tuple[str, str]] = field(default_factory=list)


def read_documents(path: Path, home: Path) -> Found:
    """Return the documents of a file or of a folder and its subfolders, by path.

    A document's id is its `id`, else its path relative to `path`, else its file's name. Rows of JSON
    Lines that can't be used are kept aside below `home`. Raises NotFound, and BadInput for a path
    without a document, or when two documents have one id.
    """
    if not path.exists():
        raise NotFound(f"there is no file or folder {path}")
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    files = [file for file in files if not any(part.startswith(".") for part in file.relative_to(path).parts)]
    found = Found()
    for file in files:
        name = file.name if path.is_file() else file.relative_to(path).as_posix()
        if file.suffix.lower() in READERS:
            _read(file, name, home, found)
    if not found.documents:
        why = f"; {found.rejected[0][0]}: {found.rejected[0][1]}" if found.rejected else ""
        raise BadInput(f"{path} holds no document ({', '.join(READERS)}){why}")
    seen: dict[str, str] = {}
    for document in found.documents:
        if document.id in seen:
            raise BadInput(f"two documents of {path} have the id {document.id!r}; give each its own")
        seen[document.id] = document.title
    return found


def _read(file: Path, name: str, home: Path, found: Found) -> None:
    try:
        if file.stat().st_size > LARGEST and file.suffix.lower() not in (".jsonl", ".ndjson"):
            raise BadInput(f"{file.stat().st_size:,} bytes; a document has at most {LARGEST:,}")
        found.documents += READERS[file.suffix.lower()](file, name, home, found)
    except (BadInput, UnicodeDecodeError) as error:
        why = error.detail if isinstance(error, BadInput) else f"it is not UTF-8 ({error.reason})"
        found.rejected.append((name, why))


def _text(file: Path) -> str:
    return file.read_text("utf-8-sig")


def _markdown(file: Path, name: str, _home: Path, _found: Found) -> list[NewDocument]:
    fields, body = clean.front_matter(_text(file))
    page = clean.markdown(body)
    title = _one(fields.get("title")) or page.title or _title_of(name)
    return [_document(_one(fields.get("id")) or name, title, page.text, fields)]


def _html(file: Path, name: str, _home: Path, _found: Found) -> list[NewDocument]:
    page = clean.html(_text(file))
    return [_document(name, page.title or _title_of(name), page.text, {})]


def _plain(file: Path, name: str, _home: Path, _found: Found) -> list[NewDocument]:
    return [_document(name, _title_of(name), clean.plain(_text(file)), {})]


def _json(file: Path, name: str, _home: Path, _found: Found) -> list[NewDocument]:
    try:
        content = json.loads(_text(file))
    except ValueError as error:
        raise BadInput(f"it is no JSON ({error})") from error
    rows = content if isinstance(content, list) else [content]
    if not all(isinstance(row, dict) for row in rows):
        raise BadInput("a document is a JSON object with title and text (or content)")
    many = len(rows) > 1
    return [_from_row(row, f"{name}:{i}" if many else name) for i, row in enumerate(rows, 1)]


def _jsonl(file: Path, name: str, home: Path, found: Found) -> list[NewDocument]:
    table: Table = read_rows(
        file, required=["text"], optional=["id", "title", "url", "groups"], aliases={"content": "text"}
    )
    if table.rejected:
        kept = keep_rejected(table, home)
        line, why = table.rejected[0]
        told = f"{len(table.rejected)} rows were rejected, first line {line}: {why}; kept in {kept}"
        found.rejected.append((name, told))
    return [_from_row(row, f"{name}:{row['_line']}") for row in table.rows]


def _from_row(row: dict[str, Any], name: str) -> NewDocument:
    text = row.get("text") or row.get("content")
    if not isinstance(text, str) or not text.strip():
        raise BadInput(f"{name} has no text (or content); it has {', '.join(map(str, row)) or 'nothing'}")
    page = clean.markdown(text) if _looks_like_markdown(text) else clean.Cleaned(None, clean.plain(text))
    title = str(row.get("title") or page.title or "").strip()
    return _document(str(row.get("id") or name), title or _title_of(name), page.text, row)


def _looks_like_markdown(text: str) -> bool:
    return any(line.startswith(("# ", "## ", "- ", "* ", "1. ", "|", "```")) for line in text.splitlines())


def _document(id_: str, title: str, text: str, fields: Any) -> NewDocument:
    if not text.strip():
        raise BadInput(f"{id_} has no text")
    groups = fields.get("groups") or []
    names = groups if isinstance(groups, list) else [part.strip() for part in str(groups).split(",")]
    url = _one(fields.get("url"))
    return NewDocument(id_, title.strip(), text, url=url or None, groups=[str(n) for n in names if n])


def _one(value: Any) -> str:
    return str(value).strip() if isinstance(value, str | int) else ""


def _title_of(name: str) -> str:
    stem = Path(name).stem.replace("_", " ").replace("-", " ").strip()
    return stem[:1].upper() + stem[1:]


Reader = Callable[[Path, str, Path, Found], list[NewDocument]]
READERS: dict[str, Reader] = {
    ".md": _markdown,
    ".markdown": _markdown,
    ".html": _html,
    ".htm": _html,
    ".txt": _plain,
    ".json": _json,
    ".jsonl": _jsonl,
    ".ndjson": _jsonl,
}
