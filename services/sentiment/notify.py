"""The outbox: notices are written with their alert and sent afterwards, as often as it takes."""

from typing import Any, Protocol

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from services.sentiment.alerts import Change
from services.sentiment.store import AlertRow, NoticeRow
from services.sentiment.windows import to_time
from shared.clock import Clock, to_text
from shared.errors import TrilliumError
from shared.storage.engine import Database
from shared.storage.rows import insert_missing
from shared.telemetry import logger

ALERTS_TOPIC = "sentiment.alerts"
AT_ONCE = 100
_LOG = logger(__name__)


class Channel(Protocol):
    """Where notices go; a publisher of records is one."""

    def send(self, topic: str, key: str, value: dict[str, Any]) -> None:
        """Queue one."""

    def flush(self) -> None:
        """Wait until all are there; raises Unavailable when some are not."""


def add_notice(session: Session, alert: AlertRow, change: Change, at: int) -> None:
    """Write a notice of `alert`, unless the same one is there."""
    moment = to_time(at)
    body = {
        "alert": alert.id,
        "series": alert.series,
        "kind": alert.kind,
        "change": str(change),
        "state": alert.state,
        "opened": to_text(alert.opened),
        "at": to_text(moment),
        "severity": alert.severity,
        "why": alert.why,
        "model": alert.model,
    }
    row = {
        "id": f"{alert.id}:{change}:{at}",
        "alert_id": alert.id,
        "change": str(change),
        "at": moment,
        "body": body,
    }
    insert_missing(session, NoticeRow, [row])


def send_notices(db: Database, channel: Channel, clock: Clock) -> int:
    """Send what waits, oldest first, with the notice's id as key; return how many. A failure is logged.

    A process that is killed in between sends some again: the key tells the receiver.
    """
    sent = 0
    while True:
        with db.read() as session:
            query = (
                select(NoticeRow).where(NoticeRow.sent.is_(None)).order_by(NoticeRow.number).limit(AT_ONCE)
            )
            waiting = list(session.scalars(query))
        if not waiting:
            return sent
        try:
            for row in waiting:
                channel.send(ALERTS_TOPIC, row.id, row.body)
            channel.flush()
        except TrilliumError as error:
            _LOG.warning("notices_wait", count=len(waiting), why=error.detail)
            return sent
        numbers = [row.number for row in waiting]
        with db.write() as session:
            session.execute(
                update(NoticeRow)
                .where(NoticeRow.number.in_(numbers))
                .values(sent=clock.now())
                .execution_options(synchronize_session=False)
            )
        sent += len(waiting)
