"""The one place that wires the application: reads first, pure middle, one write."""

import uuid
from datetime import datetime

from services.support.bundle import LoadModel, Serving, load, load_shared
from services.support.contract import (
    AskRequest,
    AskResponse,
    Choice,
    Citation,
    Handoff,
    Intent,
    Related,
)
from services.support.decide import decide
from services.support.domain import Asker, Draft, Passage, Query, Quote, related, title_of
from services.support.retrieve import retrieve
from services.support.store import AnswerRow, last_turn, newest_questions, open_database
from shared.artifacts.live import Live, Pointer
from shared.artifacts.store import ArtifactStore
from shared.clock import Clock, SystemClock
from shared.errors import TrilliumError
from shared.settings import Settings
from shared.storage.engine import Database
from shared.storage.migrate import CheckedAtFirstUse, open_checked


class SupportApp:
    """Answers questions and keeps what was said. Made by `build`; safe to share between threads."""

    def __init__(self, db: Database, live: Live[Serving], clock: Clock) -> None:
        self.db, self.live, self.clock = db, live, clock
        self._database = CheckedAtFirstUse(db)

    def database(self) -> Database:
        """Return the database; its schema is checked at the first use. Raises Conflict for an old one."""
        return self._database.get()

    def ready(self) -> str | None:
        """Return None when this can answer, else why not and what to do."""
        try:
            self.database()
            self.live.current()
        except TrilliumError as error:
            return error.detail
        return None

    def recent(self, most: int) -> list[str]:
        """Return the newest `most` questions, newest first."""
        with self.database().read() as session:
            return newest_questions(session, most)

    def ask(self, request: AskRequest, asker: Asker) -> AskResponse:
        """Answer one question; raises Unavailable before anything was trained or indexed."""
        db, (_, serving) = self.database(), self.live.current()
        # 1. reads: the documents as they are now, and what was offered in this conversation
        serving.knowledge.catch_up(db)
        conversation = request.conversation_id or uuid.uuid4().hex
        text = self._meant(db, request, conversation, asker)
        # 2. the pure middle: one pass of the model gives the vector and the intent
        query = serving.intents.read(text, serving.encoder.run([text], query=True))
        with serving.knowledge.lock:
            passages = retrieve(serving.knowledge, query, asker)
        draft = decide(query, passages, serving.intents, serving.limits, serving.sentences)
        answer = _response(serving, conversation, query, passages, draft)
        # 3. one write
        with db.write() as session:
            session.add(_row(request.question, answer, draft, asker, self.clock.now()))
        return answer

    def _meant(self, db: Database, request: AskRequest, conversation: str, asker: Asker) -> str:
        """Return the question; one that picks an offered intent is joined to what it answers."""
        if request.conversation_id is None:
            return request.question
        with db.read() as session:
            before = last_turn(session, conversation, asker.name)
        if before is not None and request.question in {title_of(name) for name in before.choices}:
            return f"{request.question}: {before.question}"
        return request.question


def _response(
    serving: Serving, conversation: str, query: Query, passages: list[Passage], draft: Draft
) -> AskResponse:
    recognised = query.guesses[0] if serving.intents.recognises(query) else None
    return AskResponse(
        answer_id=uuid.uuid4().hex,
        conversation_id=conversation,
        status=draft.status,
        text=draft.text,
        citations=[_citation(quote) for quote in draft.quotes],
        intent=Intent(name=recognised.intent, confidence=round(recognised.probability, 4))
        if recognised
        else None,
        choices=[
            Choice(intent=g.intent, title=title_of(g.intent), confidence=round(g.probability, 4))
            for g in draft.choices
        ],
        related=[
            Related(document_id=one.id, title=one.title, url=one.url)
            for one in related(passages, draft.quotes)
        ],
        handoff=_handoff(query, passages, draft),
        model=serving.model,
        index=serving.index,
    )


def _citation(quote: Quote) -> Citation:
    document = quote.passage.document
    return Citation(
        document_id=document.id,
        chunk_id=quote.passage.chunk_id,
        title=document.title,
        url=document.url,
        version=document.version,
        start=quote.start,
        end=quote.end,
        quote=quote.text,
    )


def _handoff(query: Query, passages: list[Passage], draft: Draft) -> Handoff | None:
    if draft.reason is None:
        return None
    likely = ", ".join(f"{title_of(g.intent)} ({g.probability:.0%})" for g in query.guesses[:2])
    nearest = ", ".join(dict.fromkeys(p.document.title for p in passages[:3]))
    parts = (
        f"Asked: {query.text}",
        f"Likely about: {likely}" if likely else "",
        f"Nearest pages: {nearest}" if nearest else "",
    )
    return Handoff(reason=draft.reason, summary="\n".join(part for part in parts if part))


def _row(question: str, answer: AskResponse, draft: Draft, asker: Asker, now: datetime) -> AnswerRow:
    return AnswerRow(
        id=answer.answer_id,
        conversation_id=answer.conversation_id,
        at=now,
        asked_by=asker.name,
        question=question,
        status=answer.status,
        text=answer.text,
        intent=answer.intent.name if answer.intent else None,
        confidence=answer.intent.confidence if answer.intent else None,
        citations=[one.model_dump(exclude={"quote"}) for one in answer.citations],
        choices=[guess.intent for guess in draft.choices],
        reason=draft.reason,
        model=answer.model,
        index=answer.index,
    )


def build(
    settings: Settings,
    store: ArtifactStore,
    clock: Clock | None = None,
    *,
    load_encoder: LoadModel | None = None,
) -> SupportApp:
    """Return the application over the artifacts in `store`; nothing is opened or loaded yet."""
    clock = clock or SystemClock()
    db = open_database(settings)
    encoder = load_encoder or (lambda path: load_shared(path, settings.runtime))
    pointer = Pointer(store, "support", clock)
    live: Live[Serving] = Live(pointer, lambda bundle: load(bundle, open_checked(db), encoder))
    return SupportApp(db, live, clock)
