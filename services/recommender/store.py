"""The tables: items as the truth, events, the slates that were shown, and vectors by text."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import JSON, ColumnElement, Float, Index, String, Text, UniqueConstraint, func, or_, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from services.recommender.domain import Act, Item
from services.recommender.events import KINDS, Like
from services.recommender.popularity import Popularity
from shared.clock import Clock
from shared.settings import Settings
from shared.storage.documents import CounterRow, DocumentLedger, DocumentRow, NewDocument
from shared.storage.engine import Database, database_for
from shared.storage.rows import insert_missing
from shared.storage.types import UtcDateTime, new_metadata
from shared.storage.vectors import VectorCache, VectorRow

HISTORY = 2_000  # newest events of a user that are read; a profile keeps 500 items


class Base(DeclarativeBase):
    """All tables of this application."""

    metadata = new_metadata()


class ItemRow(DocumentRow, Base):
    """The catalogue; `text` is what the encoder reads, `attributes` keep the parts it was made of."""

    __tablename__ = "items"


class Counter(CounterRow, Base):
    """The last sequence number of the items."""

    __tablename__ = "counters"


class Vector(VectorRow, Base):
    """Vectors by text and encoder."""

    __tablename__ = "vectors"


class EventRow(Base):
    """One event. The same user, item, kind and time is the same event, whoever sends it again."""

    __tablename__ = "events"
    __table_args__ = (
        UniqueConstraint("user_id", "item_id", "kind", "ts"),
        Index("ix_events_user_id_ts", "user_id", "ts"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    event_id: Mapped[str | None] = mapped_column(String(200), unique=True)
    user_id: Mapped[str] = mapped_column(String(200))
    item_id: Mapped[str] = mapped_column(String(200))
    kind: Mapped[str] = mapped_column(String(20))
    ts: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    value: Mapped[float | None] = mapped_column(Float)
    arrived: Mapped[datetime] = mapped_column(UtcDateTime)


class SlateRow(Base):
    """What was shown to whom, and by which model: without it there is no experiment and no debugging."""

    __tablename__ = "slates"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    asked_by: Mapped[str] = mapped_column(String(10))  # user, item or text
    asked: Mapped[str] = mapped_column(Text)
    served_by: Mapped[str] = mapped_column(String(20))
    model: Mapped[str | None] = mapped_column(String(100))
    index: Mapped[str | None] = mapped_column(String(100))
    items: Mapped[list[dict[str, Any]]] = mapped_column(JSON)  # item_id, rank, source, score


def open_database(settings: Settings) -> Database:
    """Return this application's database; nothing is opened."""
    return database_for(settings, "recommender", Base.metadata)


def ledger(clock: Clock | None = None) -> DocumentLedger[ItemRow]:
    """Return the ledger of the items."""
    return DocumentLedger(ItemRow, clock)


def vector_cache() -> VectorCache:
    """Return the cache of vectors by text and encoder."""
    return VectorCache(Vector)


def to_document(item: Item) -> NewDocument:
    """Return `item` as it is stored."""
    attributes = {
        "description": item.description,
        "tags": list(item.tags),
        "hidden": item.hidden,
        "more": dict(item.attributes),
    }
    return NewDocument(item.item_id, item.title, item.text, url=item.url, attributes=attributes)


def to_item(row: DocumentRow) -> Item:
    """Return the item that `row` holds."""
    kept: Mapping[str, Any] = row.attributes
    return Item(
        row.id,
        row.title,
        str(kept.get("description", "")),
        tuple(kept.get("tags", ())),
        row.url,
        dict(kept.get("more", {})),
        bool(kept.get("hidden", False)),
    )


def add_events(
    session: Session, acts: Iterable[Act], arrived: datetime, event_ids: Sequence[str | None] | None = None
) -> int:
    """Store the events that are new by `event_id` and by user, item, kind and time; return how many."""
    given = list(acts)
    ids = event_ids or [None] * len(given)
    rows = [
        {**act._asdict(), "event_id": event_id, "arrived": arrived}
        for act, event_id in zip(given, ids, strict=True)
    ]
    return insert_missing(session, EventRow, rows)


def acts_of(session: Session, user_id: str, as_of: datetime, limit: int = HISTORY) -> list[Act]:
    """Return the newest events of a user up to `as_of`, newest first."""
    query = (
        select(EventRow)
        .where(EventRow.user_id == user_id, EventRow.ts <= as_of)
        .order_by(EventRow.ts.desc(), EventRow.id.desc())
        .limit(limit)
    )
    return [Act(row.user_id, row.item_id, row.kind, row.ts, row.value) for row in session.scalars(query)]


def users_page(session: Session, after: str, limit: int, q: str | None) -> list[tuple[str, int, datetime]]:
    """Return (user, events, newest time) of users with an id above `after`, by id; `q` is part of the id."""
    query = select(EventRow.user_id, func.count(), func.max(EventRow.ts)).where(EventRow.user_id > after)
    if q:
        query = query.where(EventRow.user_id.icontains(q, autoescape=True))
    query = query.group_by(EventRow.user_id).order_by(EventRow.user_id).limit(limit)
    return [(user, count, last) for user, count, last in session.execute(query)]


def items_page(session: Session, after: str, limit: int, q: str | None) -> list[ItemRow]:
    """Return items with an id above `after`, by id; `q` is part of the title or the id."""
    query = select(ItemRow).where(ItemRow.id > after, ItemRow.deleted.is_(False))
    if q:
        found = [column.icontains(q, autoescape=True) for column in (ItemRow.title, ItemRow.id)]
        query = query.where(or_(*found))
    return list(session.scalars(query.order_by(ItemRow.id).limit(limit)))


def newest_texts(session: Session, after: int, most: int) -> list[str]:
    """Return the texts of the newest `most` items whose sequence number is above `after`, newest first."""
    query = select(ItemRow.text).where(ItemRow.sequence > after, ItemRow.deleted.is_(False))
    return list(session.scalars(query.order_by(ItemRow.sequence.desc()).limit(most)))


def catalogue_rows(db: Database) -> tuple[list[ItemRow], int]:
    """Return all items by id, and the sequence number that they are at."""
    with db.read() as session:
        rows = [row for row in ledger().changes_since(session, 0) if not row.deleted]
        head = ledger().head(session)
    return sorted(rows, key=lambda row: row.id), head


def popularity_of(session: Session, as_of: datetime, like: Like | None, window: timedelta) -> Popularity:
    """Return what `popular_at` returns, counted by the database."""
    newest = session.scalar(select(func.max(EventRow.ts)).where(EventRow.ts <= as_of))
    if newest is None:
        return Popularity({}, window)
    recent = [EventRow.ts <= as_of, EventRow.ts > newest - window]
    positive = [name for name, kind in KINDS.items() if kind.positive]
    chosen = _counts(session, [*recent, EventRow.kind.in_(positive), *_liked(like)])
    return Popularity(chosen or _counts(session, recent), window)


def _counts(session: Session, where: Sequence[ColumnElement[bool]]) -> dict[str, int]:
    query = select(EventRow.item_id, func.count()).where(*where).group_by(EventRow.item_id)
    return {str(item_id): int(count) for item_id, count in session.execute(query)}


def _liked(like: Like | None) -> list[ColumnElement[bool]]:
    if like is None:
        return []
    return [or_(EventRow.value.is_(None), EventRow.value.op(like.compare)(like.bound))]
