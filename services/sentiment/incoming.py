"""Reading a record into an article: what is broken is refused with its reason, never guessed."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from services.sentiment.domain import Article
from services.sentiment.store import ID_LENGTH, NAME_LENGTH
from shared.clock import parse_time
from shared.errors import BadInput

LONGEST_TITLE, LONGEST_TEXT, LONGEST_URL = 1_000, 20_000, 2_000  # characters; the rest is cut
AHEAD = timedelta(days=1)  # a clock or a zone that is wrong by less is put right, by more refused


def article_of(value: Mapping[str, Any], now: datetime) -> Article:
    """Return the article in `value` {id, ts, title, text?, source?, url?}; further fields are ignored.

    An event time ahead of `now` by up to a day (a wrong zone) becomes `now`. Raises BadInput for a
    missing or overlong id, a time that is none or further ahead, and neither title nor text.
    """
    title, text = _text(value, "title"), _text(value, "text")
    if not title and not text:
        raise BadInput("title and text are both empty; give at least one")
    return Article(
        id=_id(value.get("id")),
        ts=_time(value.get("ts"), now),
        title=(title or text)[:LONGEST_TITLE],
        text=text[:LONGEST_TEXT],
        source=_text(value, "source")[:NAME_LENGTH] or "unknown",
        url=_url(_text(value, "url")),
    )


def _id(value: Any) -> str:
    found = str(value).strip() if isinstance(value, str | int) and not isinstance(value, bool) else ""
    if not 1 <= len(found) <= ID_LENGTH:
        raise BadInput(f"id is {value!r:.80}; give a text of 1 to {ID_LENGTH} characters")
    return found


def _time(value: Any, now: datetime) -> datetime:
    if value is None or (isinstance(value, str) and not value.strip()):
        raise BadInput("ts is missing; give the time of publication, ISO 8601 or seconds since 1970")
    if not isinstance(value, str | int | float):
        raise BadInput(f"ts is {value!r:.80}; give ISO 8601 or seconds since 1970")
    moment, _ = parse_time(value)
    if moment > now + AHEAD:
        raise BadInput(f"ts {value!r:.80} is more than a day ahead of the clock; correct it at the source")
    return min(moment, now)


def _text(value: Mapping[str, Any], name: str) -> str:
    found = value.get(name)
    if found is None:
        return ""
    if not isinstance(found, str):
        raise BadInput(f"{name} is a {type(found).__name__}; give a text")
    return " ".join(found.split())


def _url(found: str) -> str | None:
    return found if found.startswith(("http://", "https://")) and len(found) <= LONGEST_URL else None
