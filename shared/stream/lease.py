"""A lease in the database: of all processes that ask for a name, one holds it."""

from datetime import datetime, timedelta

from sqlalchemy import delete, or_, update
from sqlalchemy.orm import Session

from shared.storage.rows import insert_missing
from shared.stream.tables import LeaseRow


class Lease:
    """`holder` asks for `name` for `ttl` at a time.

    It is taken inside the transaction of the work that it guards: the row stays locked until that
    commits, so a holder that slept past its end can't write beside the next one.
    """

    def __init__(self, model: type[LeaseRow], name: str, holder: str, ttl: timedelta) -> None:
        self._model, self._name, self._holder, self._ttl = model, name, holder, ttl

    def hold(self, session: Session, now: datetime) -> bool:
        """Take or extend the lease; False while another holds it. `now` is the caller's clock."""
        row = self._model
        free = or_(row.holder == self._holder, row.expires <= now)
        taken = session.execute(
            update(row)
            .where(row.name == self._name, free)
            .values(holder=self._holder, expires=now + self._ttl)
            .execution_options(synchronize_session=False)
        )
        if getattr(taken, "rowcount", 0) == 1:
            return True
        first = {"name": self._name, "holder": self._holder, "expires": now + self._ttl}
        return insert_missing(session, row, [first]) == 1

    def release(self, session: Session) -> None:
        """Give it back; no error when another holds it."""
        row = self._model
        session.execute(
            delete(row)
            .where(row.name == self._name, row.holder == self._holder)
            .execution_options(synchronize_session=False)
        )
