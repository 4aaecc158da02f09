"""Running the worker: reads the items topic, scores, counts, closes windows, until it is stopped."""

import threading
from typing import Any

from prometheus_client import CollectorRegistry

from services.sentiment.app import build
from services.sentiment.notify import ALERTS_TOPIC
from services.sentiment.reading import dead_letters, evaluator
from services.sentiment.store import TABLES, AlertRow
from services.sentiment.worker import DEAD_LETTERS_TOPIC, GROUP, ITEMS_TOPIC, ItemHandler
from shared.artifacts.store import ArtifactStore
from shared.settings import Settings
from shared.stream.publisher import Publisher
from shared.stream.subscription import Subscription
from shared.stream.topics import ensure_topics
from shared.stream.worker import run_worker, stop_on_signals

TOPICS = (ITEMS_TOPIC, ALERTS_TOPIC, DEAD_LETTERS_TOPIC)


def work(
    settings: Settings,
    *,
    until_idle: bool,
    accept_new_broker: bool = False,
    stop: threading.Event | None = None,
    registry: CollectorRegistry | None = None,
) -> dict[str, Any]:
    """Work until stopped, or until nothing is left; returns the sums of the database and of this run.

    Raises Unavailable without a broker or a live bundle, Conflict for an old schema.
    """
    bootstrap = settings.kafka.bootstrap
    app = build(settings, ArtifactStore(settings.home / "artifacts"))
    with Publisher(bootstrap) as publisher, app.database() as db:
        app.live.current()  # the model first: without one, records would be taken and then waited with
        ensure_topics(str(bootstrap), TOPICS, settings.kafka.partitions)
        subscription = Subscription(
            bootstrap,
            GROUP,
            [ITEMS_TOPIC],
            session_timeout_ms=settings.kafka.session_timeout_ms,
            max_records=app.own.batch,
        )
        with subscription, stop_on_signals() as asked:
            handler = ItemHandler(
                app,
                subscription.cluster.id,
                subscription.partitions(),
                subscription.end_offsets,
                channel=publisher,
            )
            counters = run_worker(
                subscription,
                handler,
                db,
                tables=TABLES,
                until_idle=until_idle,
                stop=stop or asked,
                publisher=publisher,
                dead_letter_topic=DEAD_LETTERS_TOPIC,
                accept_new_broker=accept_new_broker,
            )
            if not until_idle:
                handler.stop()
        with db.read() as session:
            row, buried = evaluator(session), dead_letters(session)
            alerts = session.query(AlertRow).count()
    names = ("items", "late", "too_late", "duplicates", "corrections")
    sums = {name: getattr(row, name) if row else 0 for name in names}
    return {
        "processed": counters.processed,
        **sums,
        "dead_letters": buried - sums["too_late"],
        "alerts": alerts,
        "watermark": row.watermark if row else None,
    }
