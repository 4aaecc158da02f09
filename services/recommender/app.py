"""The one place that wires the application: reads first, pure middle, one write."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from services.recommender.bundle import LoadModel, Serving, load, load_shared
from services.recommender.contract import (
    EventBatch,
    EventsAccepted,
    Recommendations,
    Recommended,
    Rejected,
    ServedBy,
)
from services.recommender.domain import Act, Asked, FloatArray, Item
from services.recommender.events import check
from services.recommender.features import Signals, World, signals
from services.recommender.popularity import Popularity
from services.recommender.profiles import Profile, of_items, profile_at
from services.recommender.rank import Weights
from services.recommender.settings import AppSettings
from services.recommender.slate import Place, compose, favourites
from services.recommender.store import (
    SlateRow,
    acts_of,
    add_events,
    newest_texts,
    open_database,
    popularity_of,
)
from shared.artifacts.live import Live, Pointer
from shared.artifacts.store import ArtifactStore
from shared.clock import Clock, SystemClock
from shared.errors import BadInput, NotFound, TrilliumError
from shared.settings import Settings
from shared.storage.engine import Database
from shared.storage.migrate import CheckedAtFirstUse, open_checked

FASHION = timedelta(seconds=30)  # so long what is popular is kept: counting a large table takes a while
# Someone asks for a thing by words: what they mean decides, and popularity only between equals.
BY_TEXT = {"text": 1.0, "cold": 1.0, "popular": 0.2, "repeat": 0.0, "again": 0.0}


class RecommenderApp:
    """Answers, takes events, and keeps what was shown. Made by `build`; safe to share between threads."""

    def __init__(self, db: Database, live: Live[Serving], clock: Clock, diversity: float) -> None:
        self.db, self.live, self.clock = db, live, clock
        self._diversity = diversity
        self._database = CheckedAtFirstUse(db)
        self._popular: tuple[datetime, Serving, Popularity] | None = None

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
        """Return the texts of the newest `most` items that came or changed after the live encoder's
        training, newest first."""
        db, (_, serving) = self.database(), self.live.current()
        with db.read() as session:
            return newest_texts(session, serving.learned, most)

    def recommend(self, asked: Asked, *, explain: bool = False) -> Recommendations:
        """Return the slate for `asked` and keep it; raises NotFound for an unknown item."""
        db, (_, serving) = self.database(), self.live.current()
        now = self.clock.now()
        # 1. reads: the catalogue as it is now, the user's events, what is popular
        serving.catalogue.catch_up(db)
        acts: list[Act] = []
        if asked.user is not None:
            with db.read() as session:
                acts = acts_of(session, asked.user, now)
        popular = self._popularity(serving, now)
        vector = serving.encoder.embed([asked.text], query=True)[0] if asked.text is not None else None
        # 2. the pure middle
        with serving.catalogue.lock:
            served_by, places = _slate(asked, serving, acts, popular, vector, now, self._diversity)
            titles = {place.item_id: serving.catalogue.names[place.item_id].title for place in places}
        # 3. one write
        answer = _answer(serving, served_by, places, titles, explain)
        with db.write() as session:
            session.add(_row(asked, answer, now))
        return answer

    def take(self, batch: EventBatch) -> EventsAccepted:
        """Store the events that can be used; the next answer sees them."""
        now, acts, ids, rejected = self.clock.now(), list[Act](), list[str | None](), list[Rejected]()
        for place, event in enumerate(batch.events):
            try:
                acts.append(check(event.user_id, event.item_id, event.event, event.ts, event.value, now))
                ids.append(event.event_id)
            except BadInput as error:
                rejected.append(Rejected(index=place, why=error.detail))
        with self.database().write() as session:
            accepted = add_events(session, acts, now, ids)
        return EventsAccepted(accepted=accepted, duplicates=len(acts) - accepted, rejected=rejected)

    def _popularity(self, serving: Serving, now: datetime) -> Popularity:
        kept = self._popular
        if kept is not None and kept[1] is serving and now - kept[0] < FASHION:
            return kept[2]
        with self.db.read() as session:
            found = popularity_of(session, now, serving.ranking.rule, serving.ranking.window)
        self._popular = now, serving, found
        return found


def _slate(
    asked: Asked,
    serving: Serving,
    acts: Sequence[Act],
    popular: Popularity,
    vector: FloatArray | None,
    now: datetime,
    trade: float,
) -> tuple[ServedBy, list[Place]]:
    catalogue, ranking = serving.catalogue, serving.ranking
    world = World(
        catalogue.index, catalogue.known, catalogue.cold, catalogue.moments, catalogue.matrix, popular
    )
    if asked.item is not None and asked.item not in catalogue.known:
        raise NotFound(f"there is no item {asked.item!r}; GET /v1/items lists them")
    profile = profile_at(acts, now, like=ranking.rule)
    if asked.item is not None:
        profile = of_items({asked.item: 1.0}, now)
    weights, exclude = _rules(asked, profile, ranking.weights, repeats=ranking.repeats)
    found = signals(profile, world, weights.decay, question=vector)
    if found.behaviour is None and found.text is None:
        return "popular", favourites(world, catalogue.names, asked.k)
    places = compose(
        found, world, weights, catalogue.names, k=asked.k, exclude=exclude, trade=trade, question=asked.text
    )
    return _step(asked, found), _refilled(places, asked.k, world, catalogue.names, exclude)


def _rules(asked: Asked, profile: Profile, weights: Weights, *, repeats: bool) -> tuple[Weights, set[str]]:
    """Return the weights for this kind of question and what must not be on the slate."""
    if asked.text is not None:
        return weights.model_copy(update=BY_TEXT), set()
    if asked.item is not None:
        return weights.model_copy(update={"popular": min(weights.popular, 0.5)}), {asked.item}
    return weights, set() if repeats else profile.seen()


def _step(asked: Asked, found: Signals) -> ServedBy:
    if asked.user is None:
        return "similar"
    return "visit" if found.profile.visit_only else "personal"


def _refilled(
    places: list[Place], k: int, world: World, names: Mapping[str, Item], exclude: set[str]
) -> list[Place]:
    """Return up to k places: what is missing comes from the favourites, below all others."""
    if len(places) == k:
        return places
    taken = exclude | {place.item_id for place in places}
    more = [place for place in favourites(world, names, len(names)) if place.item_id not in taken]
    floor = min((place.score for place in places), default=0.0) - 1.0
    added = [
        replace(place, score=floor + place.score, parts={"popular": floor + place.score}) for place in more
    ]

    return places + added[: k - len(places)]


def _answer(
    serving: Serving, served_by: ServedBy, places: Sequence[Place], titles: dict[str, str], explain: bool
) -> Recommendations:
    items = [
        Recommended(
            item_id=place.item_id,
            rank=rank,
            score=round(place.score, 4),
            source=place.source,
            reasons=list(place.reasons),
            title=titles[place.item_id],
            parts={name: round(value, 4) for name, value in place.parts.items()} if explain else None,
        )
        for rank, place in enumerate(places, 1)
    ]
    return Recommendations(
        slate_id=uuid.uuid4().hex, served_by=served_by, model=serving.model, index=serving.index, items=items
    )


def _row(asked: Asked, answer: Recommendations, now: datetime) -> SlateRow:
    by = next(name for name in ("user", "item", "text") if getattr(asked, name) is not None)
    return SlateRow(
        id=answer.slate_id,
        at=now,
        asked_by=by,
        asked=str(getattr(asked, by)),
        served_by=answer.served_by,
        model=answer.model,
        index=answer.index,
        items=[item.model_dump(include={"item_id", "rank", "source", "score"}) for item in answer.items],
    )


def build(
    settings: Settings,
    store: ArtifactStore,
    clock: Clock | None = None,
    *,
    load_encoder: LoadModel | None = None,
) -> RecommenderApp:
    """Return the application over the artifacts in `store`; nothing is opened or loaded yet."""
    clock = clock or SystemClock()
    db = open_database(settings)
    own = settings.app("recommender")
    assert isinstance(own, AppSettings)  # noqa: S101 - load_settings made it of this class
    encoder = load_encoder or (lambda path: load_shared(path, settings.runtime))
    pointer = Pointer(store, "recommender", clock)
    live: Live[Serving] = Live(pointer, lambda bundle: load(bundle, open_checked(db), encoder))
    return RecommenderApp(db, live, clock, own.diversity)
