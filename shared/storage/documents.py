"""Documents as the truth: every change has a sequence number, so that a snapshot can catch up."""

import hashlib
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Generic, TypeVar

from sqlalchemy import JSON, BigInteger, String, Text, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from shared.clock import Clock, SystemClock
from shared.errors import BadInput
from shared.storage.rows import in_batches, insert_missing
from shared.storage.types import UtcDateTime


def text_hash(text: str) -> str:
    """Return the SHA-256 of `text` in hex: the key of its vector and the sign of a change."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


class DocumentRow:
    """Mixin of a documents table. A deleted row stays as a tombstone without its content."""

    id: Mapped[str] = mapped_column(String(500), primary_key=True)
    source_path: Mapped[str] = mapped_column(String(2000), index=True)
    title: Mapped[str] = mapped_column(Text)
    text: Mapped[str] = mapped_column(Text)
    url: Mapped[str | None] = mapped_column(Text)
    attributes: Mapped[dict[str, Any]] = mapped_column(JSON)
    text_hash: Mapped[str] = mapped_column(String(64))
    groups: Mapped[list[str]] = mapped_column(JSON)  # empty: everybody may read it
    version: Mapped[int]  # 1 for the first content of this id, one more for each change
    sequence: Mapped[int] = mapped_column(BigInteger, unique=True)  # of the row's last change
    deleted: Mapped[bool]
    updated: Mapped[datetime] = mapped_column(UtcDateTime)


class CounterRow:
    """Mixin of the table that hands out sequence numbers; one beside each documents table."""

    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    value: Mapped[int] = mapped_column(BigInteger)


@dataclass(frozen=True)
class NewDocument:
    """A document as it comes in. `source_path` is the path it was read from, empty for the API."""

    id: str
    title: str
    text: str
    source_path: str = ""
    url: str | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    groups: Sequence[str] = ()


@dataclass(frozen=True)
class Synced:
    """What `sync_path` did, in documents."""

    changed: int
    deleted: int


RowT = TypeVar("RowT", bound=DocumentRow)
_CONTENT = ("title", "text", "url", "attributes", "groups", "source_path")


class DocumentLedger(Generic[RowT]):
    """Reads and writes of one documents table, inside the caller's session.

    Writers take the counter's row first and hold it to the end of their transaction. So numbers
    grow in the order of commits and without gaps: who saw number n never finds a new row below n.
    The counter is the CounterRow table declared on the same base.
    """

    def __init__(self, model: type[RowT], clock: Clock | None = None) -> None:
        self.model = model
        self._clock = clock or SystemClock()

    def upsert(self, session: Session, documents: Iterable[NewDocument]) -> int:
        """Write the documents that are new or differ from what is stored; returns how many.

        The last of several with one id counts. Raises BadInput for an empty id and for characters
        that a database can't keep (NUL, half a surrogate pair); then nothing is written.
        """
        wanted = {document.id: _checked(document) for document in documents}
        last = self._lock(session)
        rows = {row.id: row for row in self._rows(session, list(wanted))}
        for document in wanted.values():
            row = rows.get(document.id)
            if row is None or row.deleted or _differs(row, document):
                last += 1
                self._put(session, row, document, last)
        return self._hand_out(session, last)

    def delete(self, session: Session, ids: Iterable[str]) -> int:
        """Delete these documents and their content; returns how many were there."""
        last = self._lock(session)
        for row in self._rows(session, list(dict.fromkeys(ids))):
            if not row.deleted:
                last += 1
                self._bury(row, last)
        return self._hand_out(session, last)

    def sync_path(self, session: Session, source: str, documents: Iterable[NewDocument]) -> Synced:
        """Make `documents` all there is of `source`: others once read from it are deleted."""
        given = [replace(document, source_path=source) for document in documents]
        changed = self.upsert(session, given)
        model, kept = self.model, {document.id for document in given}
        known = session.scalars(select(model.id).where(model.source_path == source, model.deleted.is_(False)))
        return Synced(changed, self.delete(session, [id_ for id_ in known if id_ not in kept]))

    def changes_since(self, session: Session, sequence: int, limit: int | None = None) -> list[RowT]:
        """Return the rows changed after `sequence`, tombstones too, by rising sequence number."""
        model = self.model
        query = select(model).where(model.sequence > sequence).order_by(model.sequence).limit(limit)
        return list(session.scalars(query))

    def head(self, session: Session) -> int:
        """Return the newest sequence number; 0 before the first document."""
        counter = self._counter()
        return session.scalar(select(counter.value).where(counter.name == self._name)) or 0

    def identity(self, session: Session) -> str:
        """Return what tells this table from any other of its kind; empty before the first write.

        Sequence numbers of two databases can't be compared: a snapshot keeps the identity beside its
        number, and one of another table is no starting point.
        """
        counter = self._counter()
        value = session.scalar(select(counter.value).where(counter.name == f"{self._name}.identity"))
        return "" if value is None else f"{value:016x}"

    def get(self, session: Session, ids: Sequence[str]) -> list[RowT]:
        """Return the documents with these ids in the given order; missing and deleted ones are left out."""
        rows = {row.id: row for row in self._rows(session, list(dict.fromkeys(ids))) if not row.deleted}
        return [rows[id_] for id_ in ids if id_ in rows]

    def page(self, session: Session, after: str = "", limit: int = 100) -> list[RowT]:
        """Return up to `limit` documents with an id above `after`, by id; tombstones are left out."""
        model = self.model
        query = select(model).where(model.id > after, model.deleted.is_(False)).order_by(model.id)
        return list(session.scalars(query.limit(limit)))

    @property
    def _name(self) -> str:
        return str(self.model.__tablename__)  # type: ignore[attr-defined]  # given by the mapped class

    def _counter(self) -> type[CounterRow]:
        for mapper in self.model.registry.mappers:  # type: ignore[attr-defined]  # given by the mapped class
            if issubclass(mapper.class_, CounterRow):
                found: type[CounterRow] = mapper.class_
                return found
        raise TypeError(f"declare a CounterRow table on the base of {self.model.__name__}")

    def _lock(self, session: Session) -> int:
        """Take the counter's row until the transaction ends; return the last number given out."""
        counter = self._counter()
        identity = secrets.randbits(62)  # kept from the first write on; a signed 64-bit column holds it
        insert_missing(
            session,
            counter,
            [{"name": self._name, "value": 0}, {"name": f"{self._name}.identity", "value": identity}],
        )
        query = select(counter.value).where(counter.name == self._name).with_for_update()
        return session.scalars(query).one()

    def _hand_out(self, session: Session, last: int) -> int:
        counter = self._counter()
        mine = counter.name == self._name
        before = session.scalars(select(counter.value).where(mine)).one()
        session.flush()
        if last > before:
            session.execute(update(counter).where(mine).values(value=last))
        return last - before

    def _rows(self, session: Session, ids: list[str]) -> list[RowT]:
        model = self.model
        return [
            row
            for batch in in_batches(ids)
            for row in session.scalars(
                select(model).where(model.id.in_(batch)).execution_options(populate_existing=True)
            )
        ]

    def _put(self, session: Session, row: RowT | None, document: NewDocument, sequence: int) -> None:
        if row is None:
            row = self.model()
            row.id, row.version = document.id, 0
            session.add(row)
        row.source_path, row.title, row.text, row.url = (
            document.source_path,
            document.title,
            document.text,
            document.url,
        )
        row.attributes, row.groups = dict(document.attributes), sorted(set(document.groups))
        row.text_hash = text_hash(document.text)
        row.version, row.sequence, row.deleted = row.version + 1, sequence, False
        row.updated = self._clock.now()

    def _bury(self, row: RowT, sequence: int) -> None:
        row.title = row.text = row.text_hash = ""
        row.url, row.attributes, row.groups = None, {}, []
        row.sequence, row.deleted, row.updated = sequence, True, self._clock.now()


def _differs(row: DocumentRow, document: NewDocument) -> bool:
    new = replace(document, attributes=dict(document.attributes), groups=sorted(set(document.groups)))
    return any(getattr(row, name) != getattr(new, name) for name in _CONTENT)


def _checked(document: NewDocument) -> NewDocument:
    if not document.id:
        raise BadInput(f"a document without an id came (title {document.title[:80]!r}); give each its own id")
    for name in ("id", "title", "text", "source_path", "url"):
        value = getattr(document, name) or ""
        if "\x00" in value or not _encodes(value):
            raise BadInput(
                f"{name} of document {document.id!r} holds a NUL or half a surrogate pair; remove it"
            )
    return document


def _encodes(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
