"""The one error tree: a class has one HTTP status and one exit code."""

from collections.abc import Mapping
from typing import Any, ClassVar


class TrilliumError(Exception):
    """Base of every error this project raises on purpose.

    `detail` says what came, what is allowed and what to do. `extra` holds further members of the
    problem+json body (RFC 9457); its values must be JSON.
    """

    status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 1
    title: ClassVar[str] = "Internal error"

    def __init__(self, detail: str, *, extra: Mapping[str, Any] | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.extra: dict[str, Any] = dict(extra or {})


class UsageError(TrilliumError):
    """The command line or a setting is wrong."""

    status, exit_code, title = 400, 2, "Wrong usage"


class BadInput(TrilliumError):
    """Data or a request that can't be used as it came."""

    status, exit_code, title = 422, 3, "Bad input"


class TooLarge(BadInput):
    """Larger than a stated limit."""

    status, title = 413, "Too large"


class NotFound(TrilliumError):
    """Nothing has that name."""

    status, exit_code, title = 404, 4, "Not found"


class Conflict(TrilliumError):
    """The state there does not allow it: a port in use, an old schema, a taken name."""

    status, exit_code, title = 409, 5, "Conflict"


class Denied(TrilliumError):
    """Known, but may not."""

    status, exit_code, title = 403, 6, "Not allowed"


class Unauthenticated(Denied):
    """No valid credentials came with the request."""

    status, title = 401, "Not signed in"


class Damaged(TrilliumError):
    """A stored file or record is not what was written."""

    status, exit_code, title = 500, 7, "Damaged data"


class Unavailable(TrilliumError):
    """A part that is needed is not there now. `retry_after` is in seconds."""

    status, exit_code, title = 503, 8, "Not available"

    def __init__(
        self, detail: str, *, retry_after: int | None = None, extra: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(detail, extra=extra)
        self.retry_after = retry_after


class StorageFull(Unavailable):
    """The disk or the database is full; what was there before is intact."""

    status, title = 507, "Storage full"


class TooMany(TrilliumError):
    """Over a rate limit. `retry_after` is in seconds."""

    status, exit_code, title = 429, 9, "Too many requests"

    def __init__(self, detail: str, *, retry_after: int = 1, extra: Mapping[str, Any] | None = None) -> None:
        super().__init__(detail, extra=extra)
        self.retry_after = retry_after


def _tree(root: type[TrilliumError]) -> list[type[TrilliumError]]:
    return [root, *(leaf for child in root.__subclasses__() for leaf in _tree(child))]


def by_status(status: int) -> type[TrilliumError]:
    """Return the class that `status` stands for; an unknown one gives the nearest in meaning.

    A client turns an answer back into the class that the service raised. Where two classes share a
    status (Damaged and the base share 500) the first in the tree is taken.
    """
    for cls in _tree(TrilliumError):
        if cls.status == status:
            return cls
    if 400 <= status < 500:
        return BadInput
    return Unavailable if status in (502, 504) else TrilliumError
