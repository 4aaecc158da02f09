"""Cut a file into lines and CSV records without ever holding more than one record of limited size."""

import gzip
import re
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

from shared.errors import BadInput, TooLarge

LIMIT = 1_000_000  # bytes in one line or one quoted record
WHOLE_LIMIT = 256_000_000  # bytes of a file that can only be read whole: a JSON array
_PIECE = 1 << 16


class Line(NamedTuple):
    """One line without its line end: number from 1, place of its first byte, text, or why there is none."""

    number: int
    offset: int
    text: str
    problem: str | None = None


def read_lines(path: Path) -> Iterator[Line]:
    """Give the lines of a UTF-8 file (gzipped when named `.gz`), one at a time.

    A byte-order mark is dropped; lines end with LF, CRLF, or CR in a file without LF. A line over
    1 MB comes cut, with its `problem`, as does one with a NUL byte. Raises BadInput at the first
    byte that is not UTF-8, and for a gzip file that is none.
    """
    number = 0
    for offset, raw, length in _cut(path):
        number += 1
        if length > LIMIT:
            cut = raw[:1000].decode("utf-8", "replace")
            yield Line(number, offset, cut, f"{length:,} bytes in one line; at most {LIMIT:,} are read")
            continue
        if number == 1:
            _refuse_other_encodings(path, raw)
            raw = raw.removeprefix(b"\xef\xbb\xbf")
        text = _decode(path, raw, number, offset)
        yield Line(number, offset, text, "a NUL byte is in it" if "\0" in text else None)


def _cut(path: Path) -> Iterator[tuple[int, bytes, int]]:
    """Give offset, content (cut at a little over the limit) and full length of each line."""
    offset, kept, length, end = 0, bytearray(), 0, b""
    for piece in _pieces(path):
        end = end or (b"\r" if b"\r" in piece and b"\n" not in piece else b"\n")
        *whole, rest = piece.split(end)
        for part in whole:
            length += len(part)
            kept += part[: LIMIT + 1 - len(kept)]
            yield offset, bytes(kept).removesuffix(b"\r"), length
            offset += length + 1
            kept, length = bytearray(), 0
        length += len(rest)
        kept += rest[: max(0, LIMIT + 1 - len(kept))]
    if length:
        yield offset, bytes(kept), length


def read_whole(path: Path) -> str:
    """Return a UTF-8 file as text, without byte-order mark. BadInput as above; TooLarge over 256 MB."""
    pieces, size = [], 0
    for piece in _pieces(path):
        size += len(piece)
        if size > WHOLE_LIMIT:
            raise TooLarge(
                f"{path} is over {WHOLE_LIMIT:,} bytes; give it as JSON Lines (.jsonl), one object a line"
            )
        pieces.append(piece)
    raw = b"".join(pieces)
    _refuse_other_encodings(path, raw[:64])
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        start = raw.rfind(b"\n", 0, error.start) + 1
        return _decode(path, raw[start : error.end], raw.count(b"\n", 0, start) + 1, start)


def _pieces(path: Path) -> Iterator[bytes]:
    try:
        with _opened(path) as file:
            while piece := file.read(_PIECE):
                yield piece
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise BadInput(
            f"{path} is no whole gzip file ({error}); pack it again or give it unpacked"
        ) from error


def _opened(path: Path) -> BinaryIO:
    return cast(BinaryIO, gzip.open(path, "rb")) if path.suffix.lower() == ".gz" else path.open("rb")


def _refuse_other_encodings(path: Path, start: bytes) -> None:
    if start[:2] in (b"\xff\xfe", b"\xfe\xff") or start[:64].count(b"\0") > len(start[:64]) // 4 > 0:
        raise BadInput(f"{path} is UTF-16 or no text at all; save it as UTF-8 (in Excel: `CSV UTF-8`)")


def _decode(path: Path, raw: bytes, number: int, offset: int) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        byte = raw[error.start]
        guess = bytes([byte]).decode("cp1252", "replace")
        raise BadInput(
            f"{path} is not UTF-8: byte 0x{byte:02x} in line {number} (byte {offset + error.start} of "
            f"the file; in Windows-1252 it would be {guess!r}); save the file as UTF-8 and run it again"
        ) from error


class Quotes:
    """Follows quoted cells, as Python's csv reads them, from one line to the next."""

    def __init__(self, separator: str) -> None:
        sep = re.escape(separator)
        self._cell = re.compile(rf'"(?P<inside>[^"]*(?:""[^"]*)*)(?P<closed>")?[^{sep}]*|[^{sep}]*')
        self._rest = re.compile(rf'[^"]*(?:""[^"]*)*(?P<closed>")?[^{sep}]*')
        self.open = False

    def feed(self, line: str) -> bool:
        """Return whether a quoted cell is open at the end of `line`."""
        if '"' not in line:
            return self.open
        at = 0
        while True:
            match = (self._rest if self.open else self._cell).match(line, at)
            assert match is not None  # noqa: S101 - both match the empty text
            quoted = self.open or line.startswith('"', at)
            if quoted and match["closed"] is None:
                self.open = True
                return True
            self.open = False
            at = match.end() + 1
            if at > len(line):
                return False


def read_records(lines: Iterator[Line], separator: str) -> Iterator[Line]:
    """Join lines into CSV records: a quoted cell may hold line ends. Blank lines are left out.

    A quote that is never closed, or not within 1 MB, costs its own line only: that line is given
    with its problem, and reading goes on with the one after it.
    """
    waiting: deque[Line] = deque()

    def take() -> Line | None:
        return waiting.popleft() if waiting else next(lines, None)

    while (first := take()) is not None:
        if first.problem or '"' not in first.text:
            if first.problem or first.text.strip():
                yield first
            continue
        joined, whole = _until_closed(first, take, Quotes(separator))
        if whole:
            yield Line(first.number, first.offset, "\n".join(line.text for line in joined))
        else:
            waiting.extendleft(reversed(joined[1:]))
            why = "a quoted cell is opened in it and never closed"
            yield Line(first.number, first.offset, first.text, why)


def _until_closed(first: Line, take: Callable[[], Line | None], quotes: Quotes) -> tuple[list[Line], bool]:
    """Return the lines taken from `first` on, and whether they are one whole record."""
    joined, size = [first], len(first.text)
    while quotes.feed(joined[-1].text):
        following = take()
        if following is None:
            return joined, False
        joined.append(following)
        size += len(following.text) + 1
        if following.problem or size > LIMIT:
            return joined, False
    return joined, True
