"""Around every request: its id, its errors, its figures, its line in the log, and safe headers."""

import time
from collections.abc import Awaitable, Callable

from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.errors import TrilliumError
from shared.telemetry import logger, new_request_id, request_id
from shared.web.problems import internal, problem_of

_LOG = logger(__name__)
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)  # seconds
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}


class Figures:
    """The request figures of one service, in its own registry."""

    def __init__(self, service: str, registry: CollectorRegistry) -> None:
        self._service = service
        self._requests = Counter(
            "trillium_requests",
            "Requests answered",
            ("service", "route", "method", "status"),
            registry=registry,
        )
        self._seconds = Histogram(
            "trillium_request_seconds",
            "Seconds to the end of the answer",
            ("service", "route"),
            registry=registry,
            buckets=_BUCKETS,
        )

    def count(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count one answered request."""
        self._requests.labels(self._service, route, method, str(status)).inc()
        self._seconds.labels(self._service, route).observe(seconds)


class Envelope:
    """ASGI, outermost: nothing inside it can end a request without an answer that carries its id."""

    def __init__(self, app: ASGIApp, *, figures: Figures) -> None:
        self._app, self._figures = app, figures

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request; an error after the answer began is raised, so that the server cuts it off."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        token = request_id.set(new_request_id(Headers(scope=scope).get("x-request-id")))
        began, status = time.perf_counter(), 0

        async def dressed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-Id"] = request_id.get()
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            await self._guarded(scope, receive, dressed, started=lambda: status != 0)
        finally:
            self._account(scope, status or 500, time.perf_counter() - began)
            request_id.reset(token)

    async def _guarded(
        self,
        scope: Scope,
        receive: Receive,
        send: Callable[[Message], Awaitable[None]],
        *,
        started: Callable[[], bool],
    ) -> None:
        try:
            await self._app(scope, receive, send)
        except TrilliumError as error:
            if started():
                raise
            await problem_of(error, scope["path"])(scope, receive, send)
        except Exception:
            _LOG.exception("request failed", method=scope["method"], route=route_of(scope))
            if started():
                raise
            await internal(scope["path"])(scope, receive, send)

    def _account(self, scope: Scope, status: int, seconds: float) -> None:
        route = route_of(scope)
        self._figures.count(route, scope["method"] if route != UNMATCHED else "", status, seconds)
        _LOG.info("request", method=scope["method"], route=route, status=status, ms=round(seconds * 1000, 1))


UNMATCHED = "unmatched"


def route_of(scope: Scope) -> str:
    """Return the route's pattern, such as /v1/things/{id}: paths and queries hold what people wrote."""
    return str(getattr(scope.get("route"), "path", UNMATCHED))
