"""The HTTP interface of the sentiment monitor."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, Query

from services.sentiment import reading
from services.sentiment.app import SentimentApp, build
from services.sentiment.contract import (
    Alert,
    AlertPage,
    AlertState,
    Feed,
    Health,
    Item,
    ItemPage,
    Point,
    Sentiment,
    Series,
    Topic,
    Topics,
)
from services.sentiment.counting import totals
from services.sentiment.domain import ALL
from services.sentiment.score import Model
from services.sentiment.settings import ROLES
from services.sentiment.store import AlertRow, EvaluatorRow, ItemRow
from services.sentiment.windows import DAY, to_time
from shared.artifacts.store import ArtifactStore
from shared.clock import Clock, parse_time
from shared.errors import BadInput, NotFound, TrilliumError
from shared.settings import Settings
from shared.web.principal import require
from shared.web.service import create_service

VIEWER = Depends(require(ROLES[0]))
MOST_POINTS = 2_000
LONGEST_WINDOW = 7 * 24 * 60
Limit = Annotated[int, Query(ge=1, le=500)]
Cursor = Annotated[str | None, Query(max_length=500)]
Name = Annotated[str | None, Query(max_length=100)]
From = Annotated[str | None, Query(alias="from", max_length=50)]
To = Annotated[str | None, Query(max_length=50)]


def create(
    settings: Settings, *, clock: Clock | None = None, load_one: Callable[[Path], Model] | None = None
) -> FastAPI:
    """Return the service; nothing is opened before the first request."""
    store = ArtifactStore(settings.home / "artifacts", clock)
    app = build(settings, store, clock, load_one=load_one)
    return create_service(
        "sentiment",
        settings,
        routers=[_items(app), _series(app), _alerts(app), _health(app)],
        ready=app.ready,
        store=store,
        ladder=ROLES,
        recent=app.recent,
        clock=clock,
    )


def _items(app: SentimentApp) -> APIRouter:
    router = APIRouter(prefix="/v1", tags=["items"], dependencies=[VIEWER])

    @router.get("/items")
    def items(
        topic: Name = None,
        entity: Name = None,
        start: From = None,
        to: To = None,
        next: Cursor = None,  # noqa: A002 the contract's word
        limit: Limit = 50,
    ) -> ItemPage:
        if entity is not None:
            return ItemPage(items=[])  # items are linked to no entities: none has this one
        after = reading.read_cursor(next)
        with app.database().read() as session:
            rows = reading.items_page(
                session, topic=_clean(topic), start=_time(start), end=_time(to), after=after, limit=limit + 1
            )
        more = len(rows) > limit
        last = rows[limit - 1] if more else None
        return ItemPage(
            items=[_item(row) for row in rows[:limit]],
            next=reading.cursor_of(last.ts, last.id) if last else None,
        )

    return router


def _series(app: SentimentApp) -> APIRouter:
    router = APIRouter(prefix="/v1", tags=["series"], dependencies=[VIEWER])

    @router.get("/topics")
    def topics() -> Topics:
        with app.database().read() as session:
            counted = totals(session)
            learning = {name: reading.is_learning(session, name) for name in counted}
        described = {one.name: one for one in _topics(app)}
        names = sorted({*described, *counted} - {ALL})
        found = []
        for name in (ALL, *names):
            count, negative, last = counted.get(name, (0, 0, None))
            about = described.get(name)
            found.append(
                Topic(
                    name=name,
                    description=about.description if about else "",
                    keywords=list(about.keywords) if about else [],
                    state="learning" if learning.get(name, True) else "ready",
                    count=count,
                    negative=negative,
                    last=None if last is None else to_time(last),
                )
            )
        return Topics(topics=found)

    @router.get("/series")
    def series(
        series: Annotated[str, Query(min_length=1, max_length=100)] = ALL,
        window: Annotated[int | None, Query(ge=1, le=LONGEST_WINDOW)] = None,
        start: From = None,
        to: To = None,
    ) -> Series:
        step, usual = app.rules.step, app.rules.window
        length = usual if window is None else window * 60
        if length % step:
            raise BadInput(f"window is {window} minutes; give a multiple of {step // 60}")
        every = max(step, length // 4 // step * step)
        with app.database().read() as session:
            if series not in {ALL, *(one.name for one in _topics(app)), *reading.known_series(session)}:
                raise NotFound(f"there is no series {_clean(series)!r}; GET /v1/topics lists them")
            first, last = _span(app, reading.evaluator(session), _time(start), _time(to))
            if (last - first) // every > MOST_POINTS:
                raise BadInput(
                    f"{(last - first) // every} points were asked for; at most {MOST_POINTS} come at once: "
                    "ask for a shorter span or a longer window"
                )
            rows = reading.points(session, series, first, last, window=length, every=every, step=step)
            learning = reading.is_learning(session, series)
        points = [
            Point(
                end=to_time(end),
                count=counts.count,
                negative=counts.negative,
                expected=None if expected is None else round(expected * length / usual, 3),
            )
            for end, counts, expected in rows
        ]
        return Series(
            series=series,
            window=length // 60,
            step=every // 60,
            state="learning" if learning else "ready",
            points=points,
        )

    return router


def _alerts(app: SentimentApp) -> APIRouter:
    router = APIRouter(prefix="/v1", tags=["alerts"], dependencies=[VIEWER])

    @router.get("/alerts")
    def alerts(
        state: AlertState | None = None,
        next: Cursor = None,  # noqa: A002 the contract's word
        limit: Limit = 50,
    ) -> AlertPage:
        after = reading.read_cursor(next)
        with app.database().read() as session:
            rows = reading.alerts_page(session, state=state, after=after, limit=limit + 1)
        last = rows[limit - 1] if len(rows) > limit else None
        return AlertPage(
            alerts=[_alert(row) for row in rows[:limit]],
            next=reading.cursor_of(last.opened, last.id) if last else None,
        )

    return router


def _health(app: SentimentApp) -> APIRouter:
    router = APIRouter(prefix="/v1", tags=["health"], dependencies=[VIEWER])

    @router.get("/health")
    def health() -> Health:
        with app.database().read() as session:
            row = reading.evaluator(session)
            feeds = reading.feeds(session)
            buried = reading.dead_letters(session)
            alive = reading.worker_alive(session, app.clock.now())
        now = row.watermark if row else None
        too_late = row.too_late if row else 0
        return Health(
            now=now,
            worker="alive" if alive else "stopped",
            items=row.items if row else 0,
            late=row.late if row else 0,
            too_late=too_late,
            dead_letters=buried - too_late,
            duplicates=row.duplicates if row else 0,
            corrections=row.corrections if row else 0,
            feeds=[
                Feed(
                    source=feed.source,
                    state="quiet" if now is not None and reading.is_quiet(feed, now) else "live",
                    last=feed.last,
                    lag_s=max(0.0, (now - feed.last).total_seconds()) if now is not None else 0.0,
                    count=feed.count,
                )
                for feed in feeds
            ],
            model=app.model_name() or None,
        )

    return router


def _topics(app: SentimentApp) -> list[Topic]:
    """Return the live bundle's topics; none while nothing is live: what was counted is still shown."""
    try:
        found = app.topics()
    except TrilliumError:
        return []
    return [
        Topic(name=one.name, description=one.description, keywords=list(one.keywords), state="learning")
        for one in found
    ]


def _span(
    app: SentimentApp, row: EvaluatorRow | None, start: datetime | None, to: datetime | None
) -> tuple[int, int]:
    """Return (start, end] in seconds; by default the last day up to the present of the stream."""
    now = row.watermark if row and row.watermark else app.clock.now()
    last = int((to or now).timestamp())
    first = int(start.timestamp()) if start else last - DAY
    if first >= last:
        raise BadInput("from lies behind to; give an earlier from")
    return first, last


def _time(text: str | None) -> datetime | None:
    return None if text is None else parse_time(text)[0]


def _clean(text: str | None) -> str | None:
    if text is not None and "\x00" in text:
        raise BadInput("a NUL can be part of no name; remove it")
    return text


def _item(row: ItemRow) -> Item:
    return Item(
        id=row.id,
        ts=row.ts,
        title=row.title,
        source=row.source,
        url=row.url,
        sentiment=Sentiment.model_validate({"label": row.label, "probabilities": row.probabilities}),
        topics=row.topics,
        model=row.model,
        late=row.late,
    )


def _alert(row: AlertRow) -> Alert:
    return Alert.model_validate(
        {
            "id": row.id,
            "series": row.series,
            "kind": row.kind,
            "state": row.state,
            "opened": row.opened,
            "severity": row.severity,
            "why": row.why,
            "model": row.model,
            "resolved": row.resolved,
            "peak": row.peak,
        }
    )
