"""The tables: items, counts by bucket, what the evaluator remembers, alerts and their notices."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, Boolean, Float, Index, Integer, String, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from shared.settings import Settings
from shared.storage.engine import Database, database_for
from shared.storage.types import UtcDateTime, new_metadata
from shared.stream.tables import stream_tables

ID_LENGTH, NAME_LENGTH = 200, 100


class Base(DeclarativeBase):
    """All tables of this application."""

    metadata = new_metadata()


class ItemRow(Base):
    """One item as it was scored last. `counted` ones are in the buckets of their series."""

    __tablename__ = "items"
    __table_args__ = (Index("ix_items_ts_id", "ts", "id"),)

    id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    ts: Mapped[datetime] = mapped_column(UtcDateTime)
    title: Mapped[str] = mapped_column(Text)
    text: Mapped[str] = mapped_column(Text)
    source: Mapped[str] = mapped_column(String(NAME_LENGTH))
    url: Mapped[str | None] = mapped_column(Text)
    text_hash: Mapped[str] = mapped_column(String(64))
    label: Mapped[str] = mapped_column(String(20))
    probabilities: Mapped[dict[str, float]] = mapped_column(JSON)
    negative: Mapped[float] = mapped_column(Float)
    topics: Mapped[list[str]] = mapped_column(JSON)
    model: Mapped[str] = mapped_column(String(NAME_LENGTH))
    late: Mapped[bool] = mapped_column(Boolean)
    arrived: Mapped[datetime] = mapped_column(UtcDateTime)


class TopicRow(Base):
    """Which items a topic has, in the order of event time: for reading one topic's pages."""

    __tablename__ = "item_topics"
    __table_args__ = (Index("ix_item_topics_topic_ts_item_id", "topic", "ts", "item_id"),)

    item_id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    topic: Mapped[str] = mapped_column(String(NAME_LENGTH), primary_key=True)
    ts: Mapped[datetime] = mapped_column(UtcDateTime)


class BucketRow(Base):
    """The counts of one series in one step of event time; `start` is in seconds since 1970."""

    __tablename__ = "buckets"
    __table_args__ = (Index("ix_buckets_start", "start"),)

    series: Mapped[str] = mapped_column(String(NAME_LENGTH), primary_key=True)
    start: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    count: Mapped[int] = mapped_column(Integer)
    negative: Mapped[int] = mapped_column(Integer)
    positive: Mapped[int] = mapped_column(Integer)
    score: Mapped[float] = mapped_column(Float)


class ExpectedRow(Base):
    """What a closed window was judged by: the negatives that its history made expect."""

    __tablename__ = "expected"

    series: Mapped[str] = mapped_column(String(NAME_LENGTH), primary_key=True)
    end: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    expected: Mapped[float] = mapped_column(Float)


class SeriesRow(Base):
    """What the evaluator remembers of a series, as JSON of `domain.State`."""

    __tablename__ = "series"

    name: Mapped[str] = mapped_column(String(NAME_LENGTH), primary_key=True)
    learning: Mapped[bool] = mapped_column(Boolean)
    state: Mapped[dict[str, Any]] = mapped_column(JSON)


class EvaluatorRow(Base):
    """The one row that every writer locks first: how far windows are closed, and sums over all items.

    `closed` is the newest end that may have been closed, in seconds since 1970 (0 before the first);
    `watermark` the present of the stream.
    """

    __tablename__ = "evaluator"

    name: Mapped[str] = mapped_column(String(20), primary_key=True)
    closed: Mapped[int] = mapped_column(BigInteger)
    watermark: Mapped[datetime | None] = mapped_column(UtcDateTime)
    items: Mapped[int] = mapped_column(Integer)
    late: Mapped[int] = mapped_column(Integer)
    too_late: Mapped[int] = mapped_column(Integer)
    duplicates: Mapped[int] = mapped_column(Integer)
    corrections: Mapped[int] = mapped_column(Integer)


class ProgressRow(Base):
    """The largest event time that was read of one partition, and when something was read last."""

    __tablename__ = "progress"

    cluster: Mapped[str] = mapped_column(String(100), primary_key=True)
    partition: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    newest: Mapped[datetime | None] = mapped_column(UtcDateTime)
    read: Mapped[datetime] = mapped_column(UtcDateTime)


class FeedRow(Base):
    """One source: its items and the span of their event times."""

    __tablename__ = "feeds"

    source: Mapped[str] = mapped_column(String(NAME_LENGTH), primary_key=True)
    count: Mapped[int] = mapped_column(Integer)
    first: Mapped[datetime] = mapped_column(UtcDateTime)
    last: Mapped[datetime] = mapped_column(UtcDateTime)


class AlertRow(Base):
    """One alert as it stands; `why` holds the numbers of its worst window."""

    __tablename__ = "alerts"
    __table_args__ = (Index("ix_alerts_opened_id", "opened", "id"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    series: Mapped[str] = mapped_column(String(NAME_LENGTH))
    kind: Mapped[str] = mapped_column(String(20))
    state: Mapped[str] = mapped_column(String(20), index=True)
    opened: Mapped[datetime] = mapped_column(UtcDateTime)
    resolved: Mapped[datetime | None] = mapped_column(UtcDateTime)
    severity: Mapped[str] = mapped_column(String(20))
    peak: Mapped[int] = mapped_column(Integer)
    why: Mapped[dict[str, Any]] = mapped_column(JSON)
    model: Mapped[str] = mapped_column(String(NAME_LENGTH))


class NoticeRow(Base):
    """Something to tell about an alert, written with it; `id` is the same whenever it is sent again."""

    __tablename__ = "notices"

    number: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(String(64), unique=True)
    alert_id: Mapped[str] = mapped_column(String(32))
    change: Mapped[str] = mapped_column(String(20))
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    body: Mapped[dict[str, Any]] = mapped_column(JSON)
    sent: Mapped[datetime | None] = mapped_column(UtcDateTime, index=True)


TABLES = stream_tables(Base)


def open_database(settings: Settings) -> Database:
    """Return this application's database; nothing is opened."""
    return database_for(settings, "sentiment", Base.metadata)
