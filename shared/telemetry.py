"""Structured logs without customer text, and the request id that joins them."""

import logging
import re
import secrets
import sys
from contextvars import ContextVar

import structlog

request_id: ContextVar[str] = ContextVar("request_id", default="")
# Whose request it is, as a name that tells nothing about them: queues let callers take turns by it.
caller: ContextVar[str] = ContextVar("caller", default="")

# A field with one of these names holds what people wrote; its length is enough to debug with.
PRIVATE_FIELDS = frozenset(
    {"answer", "body", "content", "description", "question", "quote", "reply", "text", "title"}
)
_REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{8,64}")


def new_request_id(given: str | None = None) -> str:
    """Return `given` when it has the form of a request id (8 to 64 of A-Z a-z 0-9 _ -), else a new one."""
    return given if given and _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)


def _without_customer_text(
    _logger: object, _method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    for name in PRIVATE_FIELDS & event.keys():
        event[name] = f"<{len(str(event[name]))} characters>"
    return event


def _with_request_id(
    _logger: object, _method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    if request_id.get():
        event.setdefault("request_id", request_id.get())
    return event


def configure_logs(level: str = "info", *, as_json: bool | None = None) -> None:
    """Send logs to stderr: JSON lines, or readable ones where stderr is a terminal."""
    readable = sys.stderr.isatty() if as_json is None else not as_json
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer() if readable else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            _with_request_id,
            _without_customer_text,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        # Asked for at each line: who runs commands in one process may have put another stream there.
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
        cache_logger_on_first_use=False,
    )


def logger(name: str) -> structlog.typing.FilteringBoundLogger:
    """Return the logger of a module; its fields are key=value, never formatted text."""
    bound: structlog.typing.FilteringBoundLogger = structlog.get_logger(module=name)
    return bound
