"""The rows of a file by its kind: CSV, TSV, JSON, JSON Lines, Parquet."""

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from pipelines.reading.columns import Columns
from pipelines.reading.lines import LIMIT, Line, read_lines, read_records, read_whole
from shared.clock import to_text
from shared.errors import BadInput, Unavailable

SUFFIXES = (".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet")


class Raw(NamedTuple):
    """A row as the file has it: its line, its cells by column or a problem, and its text if it has one."""

    line: int
    cells: Mapping[str, Any] | None
    text: str = ""
    problem: str | None = None


def reader_of(path: Path) -> Callable[[Path, Columns], Iterator[Raw]]:
    """Return what reads this kind of file; raises BadInput for a kind that nothing reads."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    packed = suffixes[-1:] == [".gz"]
    suffix = "".join(suffixes[-2:-1] if packed else suffixes[-1:])
    readers = {".csv": _read_csv, ".tsv": _read_csv, ".json": _read_json}
    readers |= {".jsonl": _read_jsonl, ".ndjson": _read_jsonl} | (
        {} if packed else {".parquet": _read_parquet}
    )
    if suffix not in readers:
        raise BadInput(
            f"{path.name} is no kind of file that can be read here; give one of {', '.join(SUFFIXES)} "
            "(text also packed, with .gz)"
        )
    return readers[suffix]


def _read_csv(path: Path, wanted: Columns) -> Iterator[Raw]:
    csv.field_size_limit(max(csv.field_size_limit(), LIMIT))  # a record is never longer
    lines = read_lines(path)
    first = next((line for line in lines if line.problem or line.text.strip()), None)
    if first is None:
        raise BadInput(f"{path} is empty; its first line must name the columns {', '.join(wanted.required)}")
    if first.problem:
        raise BadInput(
            f"{path}: the first line must name the columns, but {first.problem}; save it as UTF-8 text"
        )
    separator = _separator(path, first.text, wanted)
    records = read_records(_then(first, lines), separator)
    came = [cell.strip() for cell in _cells(next(records), separator)]
    came = [name or f"column_{i}" for i, name in enumerate(came, 1)]  # pandas leaves its index nameless
    wanted.check(path, came)
    for record in records:
        if record.problem:
            yield Raw(record.number, None, record.text, record.problem)
            continue
        try:
            cells = _cells(record, separator)
        except csv.Error as error:
            yield Raw(record.number, None, record.text, str(error))
            continue
        if len(cells) != len(came):
            hint = "; is a cell with the separator in it unquoted?" if len(cells) > len(came) else ""
            why = f"{len(cells)} cells, the header has {len(came)}{hint}"
            yield Raw(record.number, None, record.text, why)
        else:
            yield Raw(record.number, dict(zip(came, cells, strict=True)), record.text)


def _then(first: Line, rest: Iterator[Line]) -> Iterator[Line]:
    yield first
    yield from rest


def _separator(path: Path, header: str, wanted: Columns) -> str:
    """Return the separator under which the header has the needed columns, else the usual one."""
    usual = "\t" if ".tsv" in (suffix.lower() for suffix in path.suffixes) else ","
    for separator in (usual, ",", ";", "\t"):
        names = wanted.names([name.strip() for name in next(csv.reader([header], delimiter=separator))])
        if set(wanted.required) <= set(names.values()):
            return separator
    return usual


def _cells(record: Line, separator: str) -> list[str]:
    return next(csv.reader([record.text], delimiter=separator))


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON value")


_DECODER = json.JSONDecoder(parse_constant=_no_constant)


def _read_jsonl(path: Path, wanted: Columns) -> Iterator[Raw]:
    for line in read_lines(path):
        if line.problem:
            yield Raw(line.number, None, line.text, line.problem)
        elif line.text.strip():
            try:
                value = _DECODER.decode(line.text)
            except (ValueError, RecursionError) as error:
                yield Raw(line.number, None, line.text, f"no JSON: {error}")
                continue
            yield _object(line.number, value, line.text)


def _object(number: int, value: Any, raw: str) -> Raw:
    if isinstance(value, dict):
        return Raw(number, value, raw)
    return Raw(number, None, raw, f"a JSON object is needed, not {type(value).__name__}")


def _read_json(path: Path, wanted: Columns) -> Iterator[Raw]:
    text = read_whole(path)
    start = _skip(text, 0)
    if start == len(text):
        raise BadInput(f"{path} is empty; it must be a JSON array of objects")
    if text[start] == "{":
        yield from _objects(path, text, start, "")  # one object, or JSON Lines under another name
    elif text[start] == "[":
        yield from _objects(path, text, start + 1, ",")
    else:
        raise BadInput(f"{path} must be a JSON array of objects; it starts with {text[start : start + 20]!r}")


def _objects(path: Path, text: str, at: int, comma: str) -> Iterator[Raw]:
    """Give the elements of an array (up to its `]`), or of a row of objects when `comma` is empty."""
    line, counted = 1, 0
    at = _skip(text, at)
    while not (text.startswith("]", at) if comma else at == len(text)):
        line, counted = line + text.count("\n", counted, at), at
        try:
            value, end = _DECODER.raw_decode(text, at)
            at = _skip(text, end)
            if comma and not text.startswith("]", at):
                if not text.startswith(comma, at):
                    raise ValueError("a comma or the closing bracket is missing behind it")
                at = _skip(text, at + 1)
        except (ValueError, RecursionError) as error:
            raise BadInput(f"{path} is no JSON from the element in line {line} on: {error}") from error
        yield _object(line, value, text[counted:end] if end - counted <= LIMIT else "")


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\r\n":
        at += 1
    return at


def _read_parquet(path: Path, wanted: Columns) -> Iterator[Raw]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise Unavailable(
            f"reading {path.name} needs pyarrow: pip install 'trillium-suite[train]', or give the data as CSV"
        ) from error
    try:
        file = parquet.ParquetFile(path)
        wanted.check(path, file.schema_arrow.names)
        number = 0
        for batch in file.iter_batches(batch_size=1000):
            for cells in batch.to_pylist():
                number += 1
                yield Raw(number, {name: _plain(value) for name, value in cells.items()})
    except (pyarrow.ArrowException, OSError) as error:
        raise BadInput(f"{path} is no whole Parquet file: {error}") from error


def _plain(value: Any) -> Any:
    """Return a Parquet value as JSON has it: times as ISO 8601 text, decimals as numbers."""
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, datetime):
        return to_text(value) if value.tzinfo else value.isoformat()
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return float(value) if isinstance(value, Decimal) else value
