"""The one place that wires the application: its database, the live model, the clock and the rules."""

from collections.abc import Callable
from pathlib import Path

from services.sentiment.domain import Article
from services.sentiment.reading import items_page
from services.sentiment.score import Model, Scorer, load, load_model, topics_of
from services.sentiment.settings import AppSettings
from services.sentiment.store import open_database
from services.sentiment.surge import Rules
from services.sentiment.topics import Topic
from services.sentiment.windows import DAY, HOUR
from shared.artifacts.live import Live, Pointer
from shared.artifacts.store import ArtifactStore
from shared.clock import Clock, SystemClock
from shared.errors import TrilliumError
from shared.settings import Settings
from shared.storage.engine import Database
from shared.storage.migrate import CheckedAtFirstUse


class SentimentApp:
    """What the API and the worker stand on. Made by `build`; safe to share between threads."""

    def __init__(
        self,
        db: Database,
        live: Live[Scorer],
        topics: Live[tuple[Topic, ...]],
        pointer: Pointer,
        clock: Clock,
        own: AppSettings,
    ) -> None:
        self._topics = topics
        self.db, self.live, self.clock, self.own = db, live, clock, own
        self.rules = rules_of(own)
        self._pointer = pointer
        self._database = CheckedAtFirstUse(db)

    def database(self) -> Database:
        """Return the database; its schema is checked at the first use. Raises Conflict for an old one."""
        return self._database.get()

    def topics(self) -> tuple[Topic, ...]:
        """Return the topics of the live bundle, without loading its model. Raises Unavailable without one."""
        return self._topics.current()[1]

    def model_name(self) -> str:
        """Return the live bundle's name, empty when there is none; nothing is loaded for it."""
        return str(self._pointer.current() or "")

    def recent(self, most: int) -> list[str]:
        """Return the newest `most` items as the model reads them, newest first."""
        with self.database().read() as session:
            rows = items_page(session, topic=None, start=None, end=None, after=None, limit=most)
        return [Article(row.id, row.ts, row.title, row.text).whole for row in rows]

    def ready(self) -> str | None:
        """Return None when this can answer, else why not and what to do.

        The API reads what the worker wrote: it needs a bundle to say what its series are, but it
        runs no model.
        """
        try:
            self.database()
            self.topics()
        except TrilliumError as error:
            return error.detail
        return None


def rules_of(own: AppSettings) -> Rules:
    """Return the surge rules that the settings say."""
    return Rules(
        step=own.step_minutes * 60,
        window=own.window_minutes * 60,
        floor=own.floor,
        p_count=own.p_count,
        p_share=own.p_share,
        p_calm=own.p_calm,
        hold=own.hold,
        recover=own.recover,
        cooldown=own.cooldown_hours * HOUR,
        longest=own.longest_days * DAY,
        learning_days=own.learning_days,
        history_days=own.history_days,
    )


def build(
    settings: Settings,
    store: ArtifactStore,
    clock: Clock | None = None,
    *,
    load_one: Callable[[Path], Model] | None = None,
) -> SentimentApp:
    """Return the application over the artifacts in `store`; nothing is opened or loaded yet."""
    clock = clock or SystemClock()
    own = settings.app("sentiment")
    assert isinstance(own, AppSettings)  # noqa: S101 - load_settings made it of this class
    model = load_one or (lambda path: load_model(path, settings.runtime.threads, settings.runtime.engine))
    pointer = Pointer(store, "sentiment", clock)
    live: Live[Scorer] = Live(pointer, lambda bundle: load(bundle, model))
    topics: Live[tuple[Topic, ...]] = Live(pointer, topics_of)
    return SentimentApp(open_database(settings), live, topics, pointer, clock, own)
