"""Topics and their keywords: the file `name,description,keywords`, and finding them in a text."""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from services.sentiment.domain import ALL
from shared.errors import BadInput
from shared.text.words import SIGNS

COLUMNS = ("name", "description", "keywords")
DEFAULT = Path(__file__).parent / "topics.csv"
_SIGN = re.compile(f"[{SIGNS}]")
_LONGEST = 100


@dataclass(frozen=True)
class Topic:
    """A topic; `keywords` may be none where a model's head knows the topic by labels."""

    name: str
    description: str = ""
    keywords: tuple[str, ...] = ()


def parse_topics(text: str, where: str = "the topics file") -> list[Topic]:
    """Return the topics of a CSV `name,description,keywords`, several keywords in a cell joined by `;`.

    Raises BadInput naming the line for missing columns, an empty or doubled name, or the name "all",
    which is every item's.
    """
    reader = csv.reader(io.StringIO(text.removeprefix("\ufeff")))
    head = [name.strip().lower() for name in next(reader, [])]
    if not set(COLUMNS) <= set(head):
        raise BadInput(f"{where} has the columns {', '.join(head) or 'none'}; it needs {', '.join(COLUMNS)}")
    found: dict[str, Topic] = {}
    for cells in reader:
        if not any(cell.strip() for cell in cells):
            continue
        row = dict(zip(head, (cell.strip() for cell in cells), strict=False))
        topic = Topic(row["name"], row.get("description", ""), _keywords(row.get("keywords", "")))
        why = _wrong(topic, found)
        if why:
            raise BadInput(f"{where}, line {reader.line_num}: {why}")
        found[topic.name] = topic
    if not found:
        raise BadInput(f"{where} names no topic; give rows of {', '.join(COLUMNS)}")
    return list(found.values())


def _wrong(topic: Topic, found: dict[str, Topic]) -> str | None:
    if not topic.name or len(topic.name) > _LONGEST or "\x00" in topic.name:
        return f"a topic's name has 1 to {_LONGEST} characters; {topic.name[:20]!r} came"
    if topic.name in found:
        return f"topic {topic.name!r} is there twice"
    return f"the name {ALL!r} is taken: it counts every item" if topic.name == ALL else None


def _keywords(cell: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word.strip() for word in cell.split(";") if word.strip()))


def read_topics(path: Path) -> list[Topic]:
    """Return the topics of a file; raises BadInput when it can't be read."""
    try:
        return parse_topics(path.read_text("utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} can't be read as UTF-8 text ({error})") from error


def to_csv(topics: Iterable[Topic]) -> str:
    """Return the topics as the file that `parse_topics` reads."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows((one.name, one.description, ";".join(one.keywords)) for one in topics)
    return out.getvalue()


class KeywordTopics:
    """Finds topics by their keywords: whole words in any case, `*` at the end for any ending.

    Chinese and Japanese have no spaces between words: a keyword in their signs matches anywhere.
    """

    def __init__(self, topics: Sequence[Topic]) -> None:
        self._patterns = [(one.name, _pattern(one.keywords)) for one in topics if one.keywords]

    def find(self, text: str) -> tuple[str, ...]:
        """Return the names of the topics in `text`, in the order of the topics."""
        return tuple(name for name, pattern in self._patterns if pattern.search(text))


def _pattern(keywords: Sequence[str]) -> re.Pattern[str]:
    return re.compile("|".join(_one(word) for word in keywords), re.IGNORECASE)


def _one(keyword: str) -> str:
    stem = keyword.removesuffix("*")
    words = r"\s+".join(re.escape(part) for part in stem.split())
    before = "" if _SIGN.match(stem) else r"(?<!\w)"
    after = "" if _SIGN.match(stem[-1:]) else (r"\w*" if keyword.endswith("*") else r"(?!\w)")
    return f"{before}{words}{after}"
