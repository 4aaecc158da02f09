"""The HTTP interface of the recommender."""

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, Query, status

from services.recommender.app import RecommenderApp, build
from services.recommender.bundle import LoadModel
from services.recommender.contract import (
    EventBatch,
    EventsAccepted,
    HistoryEvent,
    Id,
    ItemDetail,
    ItemPage,
    ItemRemoved,
    ItemSummary,
    ItemWrite,
    Recommendations,
    UserHistory,
    UserPage,
    UserSummary,
)
from services.recommender.domain import Asked, Item
from services.recommender.store import ItemRow, acts_of, items_page, ledger, to_document, to_item, users_page
from shared.artifacts.store import ArtifactStore
from shared.clock import Clock
from shared.errors import BadInput, NotFound, TrilliumError
from shared.settings import Settings
from shared.web.principal import require
from shared.web.service import create_service

LADDER = ("recommender:viewer", "recommender:editor", "recommender:admin")
VIEWER, EDITOR = (Depends(require(role)) for role in LADDER[:2])
Limit = Annotated[int, Query(ge=1, le=500)]
Cursor = Annotated[str, Query(max_length=500)]
Part = Annotated[str | None, Query(max_length=200)]


def create(
    settings: Settings, *, clock: Clock | None = None, load_encoder: LoadModel | None = None
) -> FastAPI:
    """Return the service; nothing is opened before the first request."""
    store = ArtifactStore(settings.home / "artifacts", clock)
    app = build(settings, store, clock, load_encoder=load_encoder)
    return create_service(
        "recommender",
        settings,
        routers=[_recommendations(app), _items(app), _users(app)],
        ready=app.ready,
        store=store,
        ladder=LADDER,
        clock=clock,
        recent=app.recent,
    )


def _recommendations(app: RecommenderApp) -> APIRouter:
    router = APIRouter(prefix="/v1", tags=["recommendations"])

    @router.get("/recommendations", dependencies=[VIEWER])
    def recommendations(
        user: Annotated[Id | None, Query()] = None,
        item: Annotated[Id | None, Query()] = None,
        text: Annotated[str | None, Query(min_length=1, max_length=2_000)] = None,
        k: Annotated[int, Query(ge=1, le=100)] = 10,
        explain: bool = False,
    ) -> Recommendations:
        asked = {"user": user, "item": item, "text": text}
        given = [name for name, value in asked.items() if value is not None]
        if len(given) != 1:
            raise BadInput(f"give exactly one of user, item and text; {' and '.join(given) or 'none'} came")
        if any(value is not None and ("\x00" in value or not value.strip()) for value in asked.values()):
            raise BadInput(f"{given[0]} is blank or holds a NUL; give an id or some words")
        return app.recommend(Asked(user, item, text, k), explain=explain)

    @router.post("/events", status_code=status.HTTP_202_ACCEPTED, dependencies=[EDITOR])
    def events(batch: EventBatch) -> EventsAccepted:
        return app.take(batch)

    return router


def _items(app: RecommenderApp) -> APIRouter:
    router = APIRouter(prefix="/v1/items", tags=["items"])

    @router.get("", dependencies=[VIEWER])
    def page(next: Cursor = "", limit: Limit = 50, q: Part = None) -> ItemPage:  # noqa: A002 the contract's word
        with app.database().read() as session:
            rows = items_page(session, _clean(next), limit + 1, _clean(q))
        events = _events(app)
        items = [ItemSummary.model_validate(_shown(row, events)) for row in rows[:limit]]
        return ItemPage(items=items, next=_next([row.id for row in rows], limit))

    @router.get("/{item_id:path}", dependencies=[VIEWER])
    def one(item_id: str) -> ItemDetail:
        with app.database().read() as session:
            rows = ledger().get(session, [_clean(item_id)])
        if not rows:
            raise NotFound(f"there is no item {item_id!r}; GET /v1/items lists them")
        return ItemDetail.model_validate(_shown(rows[0], _events(app)))

    @router.put("/{item_id:path}", dependencies=[EDITOR])
    def put(item_id: str, item: ItemWrite) -> ItemDetail:
        if not 1 <= len(item_id) <= 200:
            raise BadInput(f"an item id of {len(item_id)} characters came; give 1 to 200")
        with app.database().write() as session:
            ledger(app.clock).upsert(session, [to_document(_from_request(item_id, item))])
        return one(item_id)

    @router.delete("/{item_id:path}", dependencies=[EDITOR])
    def delete(item_id: str) -> ItemRemoved:
        with app.database().write() as session:
            if not ledger(app.clock).delete(session, [_clean(item_id)]):
                raise NotFound(f"there is no item {item_id!r}; GET /v1/items lists them")
        return ItemRemoved(item_id=item_id, deleted=True)

    return router


def _users(app: RecommenderApp) -> APIRouter:
    router = APIRouter(prefix="/v1/users", tags=["users"])

    @router.get("", dependencies=[VIEWER])
    def page(next: Cursor = "", limit: Limit = 50, q: Part = None) -> UserPage:  # noqa: A002 the contract's word
        with app.database().read() as session:
            rows = users_page(session, _clean(next), limit + 1, _clean(q))
        users = [UserSummary(user_id=user, events=events, last=last) for user, events, last in rows[:limit]]
        return UserPage(users=users, next=_next([row[0] for row in rows], limit))

    @router.get("/{user_id:path}", dependencies=[VIEWER])
    def history(user_id: str, limit: Limit = 20) -> UserHistory:
        with app.database().read() as session:
            acts = acts_of(session, _clean(user_id), app.clock.now(), limit)
            titles = {row.id: row.title for row in ledger().get(session, [act.item_id for act in acts])}
        if not acts:
            raise NotFound(f"user {user_id!r} has no events; GET /v1/users lists those that have")
        events = [
            HistoryEvent(
                item_id=a.item_id, title=titles.get(a.item_id, ""), event=a.kind, ts=a.ts, value=a.value
            )
            for a in acts
        ]
        return UserHistory(user_id=user_id, events=events)

    return router


def _clean(text: str | None) -> str:
    if text and "\x00" in text:
        raise BadInput("a NUL can be part of no id or title; remove it")
    return text or ""


def _next(ids: Sequence[str], limit: int) -> str | None:
    return ids[limit - 1] if len(ids) > limit else None


def _events(app: RecommenderApp) -> dict[str, int]:
    """Return the training events by item; none while nothing is live."""
    try:
        matrix = app.live.current()[1].catalogue.matrix
    except TrilliumError:
        return {}
    return dict(zip(matrix.ids, matrix.events.tolist(), strict=True))


def _from_request(item_id: str, item: ItemWrite) -> Item:
    return Item(
        item_id, item.title, item.description, tuple(item.tags), item.url, item.attributes, item.hidden
    )


def _shown(row: ItemRow, events: dict[str, int]) -> dict[str, object]:
    item = to_item(row)
    return {
        "item_id": item.item_id,
        "title": item.title,
        "description": item.description,
        "tags": list(item.tags),
        "attributes": dict(item.attributes),
        "url": item.url,
        "hidden": item.hidden,
        "events": events.get(item.item_id, 0),
        "version": row.version,
        "updated": row.updated,
    }
