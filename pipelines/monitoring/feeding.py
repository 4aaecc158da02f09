"""Putting a dated file into Kafka: every row that is an object is sent, the worker judges it."""

import csv
import gzip
import io
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.sentiment.worker import ITEMS_TOPIC
from shared.artifacts.files import write_aside
from shared.clock import parse_time
from shared.errors import BadInput, NotFound, TooLarge, UsageError
from shared.settings import Settings
from shared.stream.publisher import Publisher
from shared.stream.records import encode, encode_key
from shared.stream.topics import ensure_topics

FIELDS = ("id", "ts", "title", "text", "source", "url")
_CELL = 10_000_000  # characters of one CSV field; the csv module's own 131,072 is less than a long article
_LONGEST_LINE = 5_000_000  # characters; a record holds 1 MB
_KEPT = 1_000


@dataclass
class Fed:
    """What became of a file's rows: sent, rejected (with line and reason), times without a zone."""

    sent: int = 0
    naive: int = 0
    rejected: list[tuple[int, str, str]] | None = None


def read_stream(path: Path) -> Iterator[tuple[int, dict[str, Any] | None, str]]:
    """Yield (line, row, what is wrong) of a JSONL or CSV file, also as .gz; a bad row is None with why.

    Raises NotFound, and BadInput for another kind of file, another encoding than UTF-8, a CSV file
    without the columns, or a file without rows.
    """
    if not path.is_file():
        raise NotFound(f"there is no file {path}")
    kind = "".join(path.suffixes[-2:]) if path.suffix == ".gz" else path.suffix
    reader = {".jsonl": _json_lines, ".ndjson": _json_lines, ".csv": _csv_rows}.get(kind.removesuffix(".gz"))
    if reader is None:
        raise BadInput(f"{path} is no .jsonl or .csv (or one of these with .gz); convert it")
    seen = False
    try:
        with _text(path) as file:
            for row in reader(path, file):
                seen = True
                yield row
    except UnicodeDecodeError as error:
        raise BadInput(f"{path} is not UTF-8 ({error.reason} at byte {error.start}); convert it") from error
    except (EOFError, gzip.BadGzipFile) as error:
        raise BadInput(f"{path} is no whole gzip file: {error}") from error
    if not seen:
        raise BadInput(f"{path} has no rows; give {', '.join(FIELDS)}")


@contextmanager
def _text(path: Path) -> Iterator[io.TextIOBase]:
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rb") as binary, io.TextIOWrapper(binary, encoding="utf-8-sig", newline="") as file:
        yield file


def _json_lines(_path: Path, file: io.TextIOBase) -> Iterator[tuple[int, dict[str, Any] | None, str]]:
    number = 0
    while line := file.readline(_LONGEST_LINE):
        number += 1
        if line[-1] not in "\r\n" and len(line) == _LONGEST_LINE:
            while (rest := file.readline(_LONGEST_LINE)) and rest[-1] not in "\r\n":
                pass
            yield number, None, f"the line is longer than {_LONGEST_LINE:,} characters"
            continue
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            yield number, None, f"no JSON: {error}"
            continue
        if isinstance(row, dict):
            yield number, row, ""
        else:
            yield number, None, f"a JSON {type(row).__name__}, no object"


def _csv_rows(path: Path, file: io.TextIOBase) -> Iterator[tuple[int, dict[str, Any] | None, str]]:
    csv.field_size_limit(_CELL)
    reader = csv.reader(file)
    head = [name.strip().lower() for name in next(reader, [])]
    missing = {"id", "ts"} - set(head)
    if head and (missing or not {"title", "text"} & set(head)):
        raise BadInput(
            f"{path} has the columns {', '.join(head)}; it needs id, ts and title or text, and may have "
            "text, source and url"
        )
    for cells in _cells(path, reader):
        if len(cells) != len(head):
            yield reader.line_num, None, f"{len(cells)} fields, the header has {len(head)}"
        else:
            yield reader.line_num, dict(zip(head, cells, strict=True)), ""


def _cells(path: Path, reader: Any) -> Iterator[list[str]]:
    try:
        yield from (cells for cells in reader if cells)
    except csv.Error as error:
        raise BadInput(f"{path}, line {reader.line_num}: {error}") from error


def record_of(row: Mapping[str, Any], line: int) -> tuple[str, dict[str, Any]]:
    """Return key and value of a row: our fields, as they are; raises BadInput for what can't be a record."""
    value = {name: row[name] for name in FIELDS if row.get(name) not in (None, "")}
    key = str(value.get("id") or f"line-{line}").strip()[:200] or f"line-{line}"
    encode_key(key)
    encode(value)
    return key, value


def seconds_of(speed: str) -> float:
    """Return how many seconds of the stream pass in one: "60x" is 60, "max" is 0 (no waiting)."""
    if speed == "max":
        return 0.0
    try:
        times = float(speed.removesuffix("x"))
    except ValueError:
        times = 0.0
    if not 0 < times < float("inf") or not speed.endswith("x"):
        raise UsageError(f"--speed {speed!r} is not like 60x, or max")
    return times


def feed(
    settings: Settings,
    path: Path,
    *,
    times: float = 0.0,
    wait: Callable[[float], Any] = time.sleep,
    monotonic: Callable[[], float] = time.monotonic,
) -> Fed:
    """Send the rows of `path`, in its order; with `times` in the rhythm of their event times, so much faster.

    Nothing is sent when the file can't be read to its end, or would not fit into an embedded broker.
    Rows that are no record are kept aside by the caller. Raises Unavailable without a broker.
    """
    fed, records = Fed(rejected=[]), []
    for line, row, why in read_stream(path):
        try:
            if row is None:
                raise BadInput(why)
            records.append(record_of(row, line))
        except (BadInput, TooLarge) as error:
            assert fed.rejected is not None  # noqa: S101 - set above
            fed.rejected.append((line, error.detail, json.dumps(row, default=str)[:_KEPT] if row else ""))
    fed.naive = sum(_is_naive(value.get("ts")) for _, value in records)
    bootstrap = settings.kafka.bootstrap
    with Publisher(bootstrap) as publisher:
        ensure_topics(str(bootstrap), [ITEMS_TOPIC], settings.kafka.partitions)
        publisher.require_room(ITEMS_TOPIC, records)
        pace = _Pace(times, wait, monotonic, publisher.flush)
        for key, value in records:
            pace.keep(value.get("ts"))
            publisher.send(ITEMS_TOPIC, key, value)
            fed.sent += 1
    return fed


class _Pace:
    """Waits until a row's turn has come: its distance from the first row, divided by `times`."""

    def __init__(
        self,
        times: float,
        wait: Callable[[float], Any],
        monotonic: Callable[[], float],
        before: Callable[[], None],
    ) -> None:
        self._times, self._wait, self._monotonic, self._before = times, wait, monotonic, before
        self._first: float | None = None
        self._begun = 0.0

    def keep(self, ts: Any) -> None:
        if not self._times:
            return
        try:
            moment = parse_time(ts)[0].timestamp()
        except BadInput:
            return
        if self._first is None:
            self._first, self._begun = moment, self._monotonic()
        due = self._begun + (moment - self._first) / self._times - self._monotonic()
        if due > 0:
            self._before()
            self._wait(due)


def _is_naive(ts: Any) -> bool:
    try:
        return not parse_time(ts)[1]
    except BadInput:
        return False


def keep_aside(fed: Fed, path: Path, home: Path) -> Path | None:
    """Write the rejected rows to `home/rejected` and return the file; None where there are none."""
    if not fed.rejected:
        return None
    target = home / "rejected" / f"{path.name}.jsonl"
    lines = [json.dumps({"line": line, "why": why, "raw": raw}) for line, why, raw in fed.rejected]
    write_aside(target, ("\n".join(lines) + "\n").encode())
    return target
