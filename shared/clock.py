"""Time as an argument: what decides by time is given a clock."""

from datetime import UTC, datetime
from typing import Protocol

from shared.errors import BadInput


class Clock(Protocol):
    """Anything that tells the time."""

    def now(self) -> datetime:
        """Return the present moment, aware, in UTC."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the present moment in UTC."""
        return datetime.now(UTC)


def parse_time(value: str | int | float) -> tuple[datetime, bool]:
    """Return `value` as an aware UTC time, and whether it named its zone.

    ISO 8601 text, or seconds since 1970 as a number or as digits. Milliseconds are recognised by
    size (above 1e11 they would be the year 5138 as seconds). Text without a zone is taken as UTC;
    the caller counts these for its warning. Raises BadInput for anything else.
    """
    if isinstance(value, bool):
        raise BadInput(f"{value!r} is no time; give ISO 8601 or seconds since 1970")
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        seconds = None
    try:
        if seconds is not None:
            if seconds != seconds or abs(seconds) == float("inf"):
                raise ValueError("not finite")
            if abs(seconds) > 1e11:
                seconds /= 1000
            return datetime.fromtimestamp(seconds, UTC), True
        moment = datetime.fromisoformat(str(value).strip())
    except (ValueError, OverflowError, OSError) as error:
        raise BadInput(f"{value!r} is no time; give ISO 8601 or seconds since 1970") from error
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC), False
    return moment.astimezone(UTC), True


def to_text(moment: datetime) -> str:
    """Return `moment` as ISO 8601 in UTC with a trailing Z, without fractions when there are none."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
