"""Items and events from people's files; a row that can't be used is kept aside with the reason."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pipelines.data import LINE, Rejected, Table, keep_rejected, read_rows
from services.recommender.domain import Act, Item
from services.recommender.events import check
from shared.clock import parse_time
from shared.errors import BadInput
from shared.telemetry import logger

_LOG = logger(__name__)
_ITEM_NAMES = {
    "id": "item_id",
    "name": "title",
    "text": "description",
    "content": "description",
    "link": "url",
}
_EVENT_NAMES = {"user": "user_id", "item": "item_id", "type": "event", "timestamp": "ts", "time": "ts"}
_ITEM_COLUMNS = ("item_id", "title", "description", "tags", "url", "hidden")
# Rows without a time happen a second apart, in their order, long before any live event.
ORDER_START = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Events:
    """The usable events by time (ties in the file's order); `ordered` when rows had no times of their own."""

    acts: list[Act]
    event_ids: list[str | None]
    ordered: bool
    rejected: int
    sha256: str


def read_items(path: Path, home: Path) -> tuple[list[Item], Table]:
    """Return the items of a file, the last of several with one id; raises BadInput and NotFound.

    Needs `item_id` and `title`; knows `description`, `tags` (joined by | ; or ,), `url`, `hidden`; all other
    columns are kept as attributes.
    """
    table = read_rows(path, required=("item_id", "title"), optional=_ITEM_COLUMNS[2:], aliases=_ITEM_NAMES)
    items: dict[str, Item] = {}
    for row in table.rows:
        try:
            item = _item(row)
            items[item.item_id] = item
        except BadInput as error:
            table.refused.append(_refused(row, error.detail))
    _finish(table, home, len(items))
    return list(items.values()), table


def _item(row: Mapping[str, Any]) -> Item:
    item_id, title = str(row["item_id"]).strip(), str(row["title"]).strip()
    if len(item_id) > 200 or "\x00" in item_id + title:
        raise BadInput(f"item_id {item_id[:50]!r} is no id; give 1 to 200 characters without NUL")
    tags = row["tags"] or ()
    names = tags if isinstance(tags, list) else re.split(r"[|;,]", str(tags)) if tags else []
    more = {k: v for k, v in row.items() if k not in _ITEM_COLUMNS and k != LINE and v not in (None, "")}
    hidden = str(row["hidden"] or "").lower() in ("1", "true", "yes")
    url = str(row["url"]) if row["url"] else None
    cleaned = tuple(dict.fromkeys(str(name).strip() for name in names if str(name).strip()))
    return Item(item_id, title, str(row["description"] or ""), cleaned, url, more, hidden)


def read_events(path: Path, home: Path, now: datetime) -> Events:
    """Return the events of a file; raises BadInput and NotFound.

    Needs `user_id`, `item_id` and `event`; without a `ts` in any row the order of the rows counts.
    """
    required = ("user_id", "item_id", "event")
    table = read_rows(path, required=required, optional=("ts", "value", "event_id"), aliases=_EVENT_NAMES)
    ordered = all(row["ts"] in (None, "") for row in table.rows)
    found: list[tuple[Act, str | None]] = []
    zoneless = 0
    for number, row in enumerate(table.rows):
        try:
            ts, zoned = (ORDER_START + timedelta(seconds=number), True) if ordered else _time(row["ts"])
            zoneless += not zoned
            user, item, kind = (str(row[name]).strip() for name in required)
            event_id = str(row["event_id"])[:200] if row["event_id"] else None
            found.append((check(user, item, kind, ts, _number(row["value"]), now), event_id))
        except BadInput as error:
            table.refused.append(_refused(row, error.detail))
    if zoneless:
        _LOG.warning("times without a zone are taken as UTC", rows=zoneless, file=path.name)
    _finish(table, home, len(found))
    found.sort(key=lambda pair: pair[0].ts)
    acts, ids = [act for act, _ in found], [event_id for _, event_id in found]
    return Events(acts, ids, ordered, len(table.refused), table.sha256)


def _time(value: Any) -> tuple[datetime, bool]:
    if value in (None, ""):
        raise BadInput("ts is empty, but other rows have one; give a time, or leave the column out")
    return parse_time(value)


def _number(value: Any) -> float | None:
    if value in (None, ""):
        return None
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise BadInput(f"value {value!r} is no number; correct it or leave it empty") from error


def _refused(row: Mapping[str, Any], why: str) -> Rejected:
    raw = json.dumps({k: v for k, v in row.items() if k != LINE}, ensure_ascii=False, default=str)
    return Rejected(int(row[LINE]), why, raw)


def _finish(table: Table, home: Path, used: int) -> None:
    kept = keep_rejected(table, home)
    if kept is not None:
        _LOG.warning("rows were rejected", file=table.path.name, rows=len(table.refused), kept_in=str(kept))
    if not used:
        line, why = table.rejected[0]
        raise BadInput(f"no row of {table.path} can be used; line {line}: {why}")
