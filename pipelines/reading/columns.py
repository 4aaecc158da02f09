"""The names that a file's columns go by here, and whether a row can be taken."""

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from shared.errors import BadInput

Row: TypeAlias = dict[str, Any]
_CACHED = 1000  # JSON Lines may have other keys in each row


class Columns:
    """Required and optional columns with their aliases (another name -> ours), as `read_rows` says."""

    def __init__(
        self,
        required: Sequence[str],
        optional: Sequence[str],
        aliases: Mapping[str, str],
        verbatim: Sequence[str] = (),
    ) -> None:
        self.required, self.optional = list(required), list(optional)
        self._verbatim = frozenset(verbatim)
        self._ours = {_folded(name): name for name in (*required, *optional)}
        self._aliases = {_folded(other): name for other, name in aliases.items()}
        self._renamed: dict[tuple[str, ...], dict[str, str]] = {}
        self._complaints: dict[tuple[str, ...], str] = {}

    def names(self, came: Sequence[str]) -> dict[str, str]:
        """Return name in the file -> name here; an alias gives way where our own name is there too."""
        key = tuple(came)
        if key not in self._renamed:
            taken = {self._ours[_folded(name)] for name in came if _folded(name) in self._ours}
            names = {}
            for name in came:
                folded = _folded(name)
                other = self._aliases.get(folded)
                use_alias = other is not None and other not in taken and folded not in self._ours
                names[name] = other if use_alias and other else self._ours.get(folded, name)
                taken.add(names[name])
            if len(self._renamed) < _CACHED:
                self._renamed[key] = names
            return names
        return self._renamed[key]

    def check(self, path: Path, came: Sequence[str]) -> list[str]:
        """Return our names of a header; raises BadInput for a missing or a doubled one."""
        doubled = sorted({name for name in came if name and came.count(name) > 1})
        if doubled:
            raise BadInput(f"{path}: column {doubled[0]!r} is there twice; rename or remove one")
        names = self.names(came)
        ours = list(names.values())
        doubled = sorted({name for name in ours if name and ours.count(name) > 1})
        if doubled:
            both = [name for name in came if names[name] == doubled[0]]
            raise BadInput(f"{path}: columns {both} all mean {doubled[0]!r}; keep one of them")
        missing = [name for name in self.required if name not in ours]
        if missing:
            raise BadInput(f"{path} {self.complaint(came, missing)}")
        return ours

    def complaint(self, came: Sequence[str], missing: Sequence[str]) -> str:
        """Return what came, what is needed, and the nearest names."""
        near = {
            name: difflib.get_close_matches(_folded(name), list(map(_folded, came)), n=1, cutoff=0.5)
            for name in missing
        }
        hints = [f"is {close[0]!r} meant as {name!r}?" for name, close in near.items() if close]
        shown = ", ".join(repr(name[:40]) for name in came[:20]) or "none"
        return (
            f"lacks the column{'s' if len(missing) > 1 else ''} {', '.join(missing)}; it has {shown}; "
            f"needed: {', '.join(self.required)}" + (f"; {' '.join(hints)}" if hints else "")
        )

    def _complaint_once(self, came: tuple[str, ...], missing: Sequence[str]) -> str:
        if came not in self._complaints:
            if len(self._complaints) >= _CACHED:
                return f"lacks the column {missing[0]}"
            self._complaints[came] = self.complaint(came, missing)
        return self._complaints[came]

    def row(self, cells: Mapping[str, Any]) -> tuple[Row, str | None]:
        """Return a row under our names, and why it can't be taken, if so."""
        names = self.names(list(cells))
        row: Row = dict.fromkeys(self.optional)
        for name, value in cells.items():
            row[names[name]] = value if names[name] in self._verbatim else _clean(value)
        absent = [name for name in self.required if name not in row]
        if absent:
            return row, self._complaint_once(tuple(cells), absent)
        blank = [name for name in self.required if row[name] is None or row[name] in ("", [], {})]
        if blank:
            return row, f"{blank[0]} is blank"
        unsafe = next((name for name, value in row.items() if not _storable(value)), None)
        if unsafe is not None:
            return row, f"{unsafe} has a NUL or half of a character pair, which no database keeps"
        return row, None


def _folded(name: str) -> str:
    return "_".join(name.strip().casefold().replace("-", " ").replace("_", " ").split())


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value


def _storable(value: Any) -> bool:
    if isinstance(value, str):
        return "\0" not in value and (value.isascii() or not any("\ud800" <= c <= "\udfff" for c in value))
    if isinstance(value, Mapping):
        return all(_storable(one) for pair in value.items() for one in pair)
    return all(map(_storable, value)) if isinstance(value, list) else True
