"""The HTTP interface of support."""

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, Query

from services.support.app import SupportApp, build
from services.support.bundle import LoadModel
from services.support.contract import (
    AskRequest,
    AskResponse,
    DocumentPage,
    DocumentRemoved,
    DocumentSummary,
    DocumentText,
    DocumentWrite,
)
from services.support.domain import Asker
from services.support.settings import ROLES
from services.support.store import ArticleRow, ledger, to_document
from shared.artifacts.store import ArtifactStore
from shared.clock import Clock
from shared.errors import BadInput, NotFound
from shared.settings import Settings
from shared.storage.documents import NewDocument
from shared.text import clean
from shared.web.principal import Principal, require
from shared.web.service import create_service

AGENT, EDITOR = (Depends(require(role)) for role in ROLES[:2])
Limit = Annotated[int, Query(ge=1, le=500)]
Cursor = Annotated[str, Query(max_length=500)]


def create(
    settings: Settings, *, clock: Clock | None = None, load_encoder: LoadModel | None = None
) -> FastAPI:
    """Return the service; nothing is opened before the first request."""
    store = ArtifactStore(settings.home / "artifacts", clock)
    app = build(settings, store, clock, load_encoder=load_encoder)
    return create_service(
        "support",
        settings,
        routers=[_asking(app), _documents(app)],
        ready=app.ready,
        store=store,
        ladder=ROLES,
        recent=app.recent,
        clock=clock,
    )


def _asker(principal: Principal) -> Asker:
    return Asker(principal.name, principal.groups)


def _asking(app: SupportApp) -> APIRouter:
    router = APIRouter(prefix="/v1", tags=["answers"])

    @router.post("/ask")
    def ask(request: AskRequest, principal: Annotated[Principal, AGENT]) -> AskResponse:
        if "\x00" in request.question:
            raise BadInput("the question holds a NUL character; remove it")
        return app.ask(request, _asker(principal))

    return router


def _documents(app: SupportApp) -> APIRouter:
    router = APIRouter(prefix="/v1/documents", tags=["documents"])

    @router.get("")
    def page(principal: Annotated[Principal, AGENT], next: Cursor = "", limit: Limit = 50) -> DocumentPage:  # noqa: A002 the contract's word
        rows: list[ArticleRow] = []
        after = _clean(next)
        with app.database().read() as session:
            while len(rows) <= limit and (more := ledger().page(session, after, limit + 1)):
                after = more[-1].id
                rows += [row for row in more if to_document(row).visible_to(_asker(principal))]
        shown = [DocumentSummary.model_validate(_fields(row)) for row in rows[:limit]]
        return DocumentPage(documents=shown, next=rows[limit - 1].id if len(rows) > limit else None)

    @router.get("/{document_id:path}")
    def one(document_id: str, principal: Annotated[Principal, AGENT]) -> DocumentText:
        with app.database().read() as session:
            rows = ledger().get(session, [_clean(document_id)])
        if not rows or not _may_see(rows, principal):
            raise _missing(document_id)
        return DocumentText.model_validate({**_fields(rows[0]), "text": rows[0].text})

    @router.put("/{document_id:path}")
    def put(
        document_id: str, document: DocumentWrite, principal: Annotated[Principal, EDITOR]
    ) -> DocumentText:
        new = _from_request(document_id, document)
        with app.database().write() as session:
            if not _may_see(ledger().get(session, [document_id]), principal):
                raise _missing(document_id)
            ledger(app.clock).upsert(session, [new])
            row = ledger().get(session, [document_id])[0]
            return DocumentText.model_validate({**_fields(row), "text": row.text})

    @router.delete("/{document_id:path}")
    def delete(document_id: str, principal: Annotated[Principal, EDITOR]) -> DocumentRemoved:
        with app.database().write() as session:
            rows = ledger().get(session, [_clean(document_id)])
            if not rows or not _may_see(rows, principal):
                raise _missing(document_id)
            ledger(app.clock).delete(session, [document_id])
        return DocumentRemoved(id=document_id, deleted=True)

    return router


def _may_see(rows: Sequence[ArticleRow], principal: Principal) -> bool:
    return all(to_document(row).visible_to(_asker(principal)) for row in rows)


def _missing(document_id: str) -> NotFound:
    # The same for what is not there and for what one may not see: else the error would tell.
    return NotFound(f"there is no document {document_id!r}; GET /v1/documents lists them")


def _clean(text: str) -> str:
    if "\x00" in text:
        raise BadInput("an id holds a NUL character; remove it")
    return text


def _fields(row: ArticleRow) -> dict[str, object]:
    return {
        "id": row.id,
        "title": row.title,
        "url": row.url,
        "groups": row.groups,
        "version": row.version,
        "updated": row.updated,
    }


def _from_request(document_id: str, document: DocumentWrite) -> NewDocument:
    if not 1 <= len(document_id) <= 500:
        raise BadInput(f"a document id of {len(document_id)} characters came; give 1 to 500")
    text = _read(document)
    if not text.strip():
        raise BadInput("nothing readable is left of the text after cleaning; give a text with words")
    return NewDocument(document_id, document.title, text, url=document.url, groups=document.groups)


def _read(document: DocumentWrite) -> str:
    if document.format == "text":
        return clean.plain(document.text)
    page = clean.markdown if document.format == "markdown" else clean.html
    return page(document.text).text
