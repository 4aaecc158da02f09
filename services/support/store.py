"""The tables: documents as the truth, what was answered, and vectors by text."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Float, String, Text, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from services.support.domain import Document
from shared.clock import Clock
from shared.settings import Settings
from shared.storage.documents import CounterRow, DocumentLedger, DocumentRow
from shared.storage.engine import Database, database_for
from shared.storage.types import UtcDateTime, new_metadata
from shared.storage.vectors import VectorCache, VectorRow


class Base(DeclarativeBase):
    """All tables of this application."""

    metadata = new_metadata()


class ArticleRow(DocumentRow, Base):
    """The help centre; `text` is cleaned, and citations point into it."""

    __tablename__ = "documents"


class Counter(CounterRow, Base):
    """The last sequence number of the documents."""

    __tablename__ = "counters"


class Vector(VectorRow, Base):
    """Vectors of chunks by text and encoder."""

    __tablename__ = "vectors"


class AnswerRow(Base):
    """One turn: what was asked and said, by which model and index."""

    __tablename__ = "answers"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    conversation_id: Mapped[str] = mapped_column(String(64), index=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    asked_by: Mapped[str] = mapped_column(String(100))
    question: Mapped[str] = mapped_column(Text)
    status: Mapped[str] = mapped_column(String(20))
    text: Mapped[str] = mapped_column(Text)
    intent: Mapped[str | None] = mapped_column(String(200))
    confidence: Mapped[float | None] = mapped_column(Float)
    citations: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    choices: Mapped[list[str]] = mapped_column(JSON)  # names of the offered intents
    reason: Mapped[str | None] = mapped_column(Text)
    model: Mapped[str | None] = mapped_column(String(100))
    index: Mapped[str | None] = mapped_column(String(100))


def open_database(settings: Settings) -> Database:
    """Return this application's database; nothing is opened."""
    return database_for(settings, "support", Base.metadata)


def ledger(clock: Clock | None = None) -> DocumentLedger[ArticleRow]:
    """Return the ledger of the documents."""
    return DocumentLedger(ArticleRow, clock)


def vector_cache() -> VectorCache:
    """Return the cache of vectors by text and encoder."""
    return VectorCache(Vector)


def to_document(row: ArticleRow) -> Document:
    """Return the document that `row` holds."""
    return Document(row.id, row.title, row.text, row.url, frozenset(row.groups), row.version)


def last_turn(session: Session, conversation_id: str, asked_by: str) -> AnswerRow | None:
    """Return the newest turn that `asked_by` had in a conversation, or None."""
    query = select(AnswerRow).where(
        AnswerRow.conversation_id == conversation_id, AnswerRow.asked_by == asked_by
    )
    return session.scalars(query.order_by(AnswerRow.at.desc(), AnswerRow.id).limit(1)).first()


def newest_questions(session: Session, most: int) -> list[str]:
    """Return the newest `most` questions, newest first; of equal times by id."""
    query = select(AnswerRow.question).order_by(AnswerRow.at.desc(), AnswerRow.id).limit(most)
    return list(session.scalars(query))
