"""Records of the event log: JSON objects with `"v": 1`, bounded, and free of what a database can't keep."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from shared.errors import BadInput, TooLarge

VERSION = 1
# A broker takes batches of up to 1,048,588 bytes (message.max.bytes); the rest is room for headers.
MAX_VALUE_BYTES = 1_000_000
MAX_KEY_BYTES = 1_000


@dataclass(frozen=True)
class Partition:
    """One partition of a topic; sorts by topic, then number."""

    topic: str
    number: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.number}"

    def __lt__(self, other: "Partition") -> bool:
        return (self.topic, self.number) < (other.topic, other.number)


@dataclass(frozen=True)
class Record:
    """One record as it was read. `timestamp_ms` is its arrival; event time lives in the value.

    Bytes of the key that are no UTF-8 are written as `\\xNN`, so that it can be kept as text.
    """

    topic: str
    partition: int
    offset: int
    key: str | None
    value: bytes | None
    timestamp_ms: int


def encode(value: Mapping[str, Any]) -> bytes:
    """Return `value` as compact UTF-8 JSON with `"v": 1`.

    Raises BadInput for what is no JSON (NaN, half a surrogate pair, NUL) and TooLarge above
    1,000,000 bytes.
    """
    try:
        text = json.dumps({**value, "v": VERSION}, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        data = text.encode("utf-8")
    except (TypeError, ValueError, RecursionError) as error:
        raise BadInput(f"a record must be JSON in UTF-8: {error}") from error
    if "\\u0000" in text and _holds_nul(value):
        raise BadInput("a record holds a NUL character, which no database keeps; remove it")
    if len(data) > MAX_VALUE_BYTES:
        raise TooLarge(
            f"a record of {len(data):,} bytes came; at most {MAX_VALUE_BYTES:,} are allowed. Shorten its text"
        )
    return data


def encode_key(key: str) -> bytes:
    """Return `key` as UTF-8. Raises BadInput when it is empty, too long (1,000 bytes) or holds a NUL."""
    try:
        data = key.encode("utf-8")
    except UnicodeEncodeError as error:
        raise BadInput(f"key {key!r} is no Unicode text; remove the half surrogate pair") from error
    if not data or len(data) > MAX_KEY_BYTES or b"\x00" in data:
        raise BadInput(f"key {key[:80]!r} must have 1 to {MAX_KEY_BYTES:,} bytes and no NUL")
    return data


def decode(value: bytes | None) -> dict[str, Any]:
    """Return the JSON object in `value`, with its `"v"`.

    Raises BadInput that says what is wrong: nothing there, no UTF-8, no JSON object, another version,
    a NUL or half a surrogate pair in a text; TooLarge above 1,000,000 bytes.
    """
    if value is None:
        raise BadInput("the record has no value; expected a JSON object")
    if len(value) > MAX_VALUE_BYTES:
        raise TooLarge(f"the record has {len(value):,} bytes; at most {MAX_VALUE_BYTES:,} are allowed")
    try:
        text = value.decode("utf-8")
        found = json.loads(text, parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        raise BadInput(f"the record is no UTF-8 at byte {error.start}; expected a JSON object") from error
    except (ValueError, RecursionError) as error:
        raise BadInput(f"the record is no JSON: {error}; expected an object") from error
    if not isinstance(found, dict):
        raise BadInput(f"the record is a JSON {type(found).__name__}; expected an object")
    if found.get("v") != VERSION or isinstance(found["v"], bool):
        raise BadInput(f"the record has version {found.get('v')!r}; expected {VERSION}")
    # Only an escape can bring one of these: raw ones are refused above.
    if "\\u" in text and _holds_unkeepable(found):
        raise BadInput("the record holds a NUL or half a surrogate pair in a text; remove it")
    return found


def key_text(key: bytes | None) -> str | None:
    """Return a record's key as text that any database keeps."""
    return None if key is None else key.decode("utf-8", "backslashreplace").replace("\x00", "\\x00")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _texts(value: Any) -> Iterable[str]:
    waiting = [value]  # a stack of our own: deep nesting must not end in a RecursionError
    while waiting:
        part = waiting.pop()
        if isinstance(part, str):
            yield part
        elif isinstance(part, Mapping):
            waiting.extend(part.keys())
            waiting.extend(part.values())
        elif isinstance(part, list | tuple):
            waiting.extend(part)


def _holds_nul(value: Any) -> bool:
    return any("\x00" in text for text in _texts(value))


def _holds_unkeepable(value: Any) -> bool:
    return any("\x00" in text or any("\ud800" <= c <= "\udfff" for c in text) for text in _texts(value))
