"""Windows over event time: buckets of one step, windows as sums of buckets, and the watermark."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from services.sentiment.domain import Counts

HOUR, DAY = 3_600, 86_400


def bucket_of(moment: datetime, step: int) -> int:
    """Return the start of the bucket of `step` seconds that `moment` falls in, in seconds since 1970."""
    return int(moment.timestamp() // step) * step


def to_time(seconds: int) -> datetime:
    """Return seconds since 1970 as a UTC time."""
    return datetime.fromtimestamp(seconds, UTC)


def window_sum(buckets: Mapping[int, Counts], end: int, window: int, step: int) -> Counts:
    """Return what lies in [end - window, end); `buckets` are by start, missing ones are empty."""
    total = Counts()
    for start in range(end - window, end, step):
        found = buckets.get(start)
        if found is not None:
            total = total.plus(found)
    return total


class Progress(NamedTuple):
    """How far one partition is: its largest event time, None before its first item.

    An `idle` one has nothing to read and stood so for a while: it holds nothing back.
    """

    newest: datetime | None
    idle: bool


def watermark(partitions: Sequence[Progress], grace: timedelta) -> datetime | None:
    """Return the time before which no more items are awaited, None while that is unknown.

    Partitions are read at different speeds, so the slowest decides: the smallest of their largest
    event times, less `grace`. Idle ones don't count, unless all are: then the newest item decides.
    """
    busy = [one.newest for one in partitions if not one.idle]
    if not busy:
        known = [one.newest for one in partitions if one.newest is not None]
        return max(known) - grace if known else None
    return None if None in busy else min(moment for moment in busy if moment is not None) - grace


def ends_to_close(starts: Iterable[int], closed: int, until: int, window: int, step: int) -> list[int]:
    """Return the window ends in (closed, until] that hold a bucket, in order.

    `starts` are the buckets that have items. A window without any is left out: a hole in the stream
    is no data, not a calm hour.
    """
    ends = {
        end
        for start in starts
        for end in range(start + step, start + window + step, step)
        if closed < end <= until
    }
    return sorted(ends)
