"""Read, split and keep aside: every row of a file is taken, or rejected with its line and the reason."""

import hashlib
import json
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias, get_args

from pipelines.reading.columns import Columns, Row
from pipelines.reading.formats import SUFFIXES, Raw, reader_of
from shared.artifacts.files import sha256_of, write_aside
from shared.errors import BadInput, NotFound

LINE = "_line"
Side: TypeAlias = Literal["train", "valid", "test"]
_KEPT = 10_000  # characters of one rejected row that are kept aside,
_KEPT_IN_ALL = 50_000_000  # and of all of them: a file of nothing but bad rows must fit in memory


class Rejected(NamedTuple):
    """A row that was not taken: its line (or its number in a Parquet file), why, and its start."""

    line: int
    why: str
    raw: str


@dataclass
class Table:
    """What a file holds: `rows` in its order, each with its line as `_line`; `sha256` is the file's."""

    path: Path
    sha256: str
    columns: list[str] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    refused: list[Rejected] = field(default_factory=list)

    @property
    def rejected(self) -> list[tuple[int, str]]:
        """The rejected rows as (line, why), in the file's order."""
        return [(one.line, one.why) for one in self.refused]


def read_rows(
    path: Path,
    *,
    required: Sequence[str],
    optional: Sequence[str] = (),
    aliases: Mapping[str, str] | None = None,
    verbatim: Sequence[str] = (),
) -> Table:
    """Return the rows of a CSV, TSV, JSON (array), JSON Lines or Parquet file; text also as `.gz`.

    Every row has a value other than blank in each of `required`; `optional` columns that a file or
    row lacks are None. `aliases` maps another name of a column to ours. Column names are matched
    without regard to case, blanks and hyphens; further columns are kept. Text is stripped but for the
    columns in `verbatim`, whose characters others count. CSV gives text,
    the others keep their types (times of Parquet become ISO 8601 text). In a CSV file the separator
    may also be `;` or a tab.

    Raises NotFound; BadInput for an unknown kind of file, another encoding than UTF-8, no rows, a
    missing or doubled column, or when every row is rejected; TooLarge for a JSON array over 256 MB.
    """
    if not path.exists():
        raise NotFound(f"there is no file {path}")
    if not path.is_file():
        raise BadInput(f"{path} is no file; give one of {', '.join(SUFFIXES)}")
    wanted = Columns(required, optional, aliases or {}, verbatim)
    table, room = Table(path, sha256_of(path)), _KEPT_IN_ALL
    for raw in reader_of(path)(path, wanted):
        row, problem = wanted.row(raw.cells) if raw.cells is not None else ({}, raw.problem)
        if problem is None:
            table.rows.append({**row, LINE: raw.line})
            continue
        kept = _text_of(raw)[: min(_KEPT, room)]
        room -= len(kept)
        table.refused.append(Rejected(raw.line, problem, kept))
    _refuse_useless(table, wanted)
    table.columns = list(dict.fromkeys(name for row in table.rows[:1000] for name in row if name != LINE))
    return table


def _text_of(raw: Raw) -> str:
    return raw.text or json.dumps(raw.cells, ensure_ascii=False, default=str)


def _refuse_useless(table: Table, wanted: Columns) -> None:
    if table.rows:
        return
    if not table.refused:
        raise BadInput(f"{table.path} has no rows; it needs the columns {', '.join(wanted.required)}")
    first = table.refused[0]
    raise BadInput(
        f"none of the {len(table.refused)} rows of {table.path} can be used; line {first.line}: {first.why}"
    )


def keep_rejected(table: Table, home: Path) -> Path | None:
    """Write the rejected rows to `home/rejected` as JSON Lines (line, why, raw) and return the file.

    The same file read again gives the same name. None where nothing was rejected. Raises StorageFull.
    """
    if not table.refused:
        return None
    target = home / "rejected" / f"{table.path.name}-{table.sha256[:8]}.jsonl"
    lines = [json.dumps(one._asdict(), ensure_ascii=True) for one in table.refused]
    write_aside(target, ("\n".join(lines) + "\n").encode())
    return target


def normalised(text: str) -> str:
    """Return what the split sees of a text: letters and digits in one case, without anything between.

    Two texts that differ in case, spacing or punctuation only give the same; other digits differ.
    A text with neither letters nor digits is itself.
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(c for c in folded if c.isalnum()) or text.strip()


def split(text: str, ratios: tuple[float, float, float] = (0.7, 0.15, 0.15)) -> Side:
    """Return the side of a text: "train", "valid" or "test", in these ratios (they add up to 1).

    It depends on the normalised text alone, so a row never changes sides, whatever else is in the
    file, and repeats share one. Raises BadInput for ratios that are none.
    """
    if min(ratios) < 0 or abs(sum(ratios) - 1) > 1e-9:
        raise BadInput(f"ratios {ratios} are no shares; give three numbers from 0 up that add up to 1")
    digest = hashlib.blake2b(normalised(text).encode("utf-8", "surrogatepass"), digest_size=8).digest()
    place = int.from_bytes(digest, "big") / 2**64
    train, valid, _test = ratios
    sides: tuple[Side, ...] = get_args(Side)
    return sides[(place >= train) + (place >= train + valid)]
