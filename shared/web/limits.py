"""How often one caller may call, and how much one request may carry."""

import hashlib
import math
import threading
import time
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.errors import BadInput, TooLarge, TooMany
from shared.telemetry import caller

FAILURES_PER_MINUTE = 60  # wrong credentials from one address; a dashboard is one address for many people
LOGINS_PER_MINUTE = 10  # wrong passwords for one name
_MOST_BUCKETS = 10_000  # about 2 MB
UNLIMITED = ("/healthz", "/readyz", "/metrics")


class Buckets:
    """Token buckets by name: each holds a minute's worth and refills evenly. Safe between threads."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._levels: dict[str, tuple[float, float]] = {}
        self._lock = threading.Lock()

    def take(self, name: str, per_minute: int) -> None:
        """Take one token; raises TooMany, with the seconds until there is one again."""
        with self._lock:
            level = self._level(name, per_minute)
            if level < 1:
                self._refuse(level, per_minute)
            self._put(name, level - 1)

    def check(self, name: str, per_minute: int) -> None:
        """Raise TooMany when `take` would."""
        with self._lock:
            level = self._level(name, per_minute)
            if level < 1:
                self._refuse(level, per_minute)

    def _level(self, name: str, per_minute: int) -> float:
        level, then = self._levels.get(name, (float(per_minute), self._monotonic()))
        return min(float(per_minute), level + (self._monotonic() - then) * per_minute / 60)

    def _put(self, name: str, level: float) -> None:
        self._levels.pop(name, None)
        if len(self._levels) >= _MOST_BUCKETS:  # the one used longest ago is the fullest
            self._levels.pop(next(iter(self._levels)))
        self._levels[name] = level, self._monotonic()

    def _refuse(self, level: float, per_minute: int) -> None:
        wait = max(1, math.ceil((1 - level) * 60 / per_minute))
        raise TooMany(
            f"over {per_minute} requests a minute; wait {wait} s (TRILLIUM_LIMITS__REQUESTS_PER_MINUTE "
            "sets the limit of a service)",
            retry_after=wait,
        )


class RateLimit:
    """ASGI: counts per credential, and wrong credentials per address: inventing keys is no way round.

    Sets `shared.telemetry.caller` for what comes after it.
    """

    def __init__(self, app: ASGIApp, *, buckets: Buckets, per_minute: int) -> None:
        self._app, self._buckets, self._per_minute = app, buckets, per_minute

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request pass, or raise TooMany."""
        if scope["type"] != "http" or scope["path"] in UNLIMITED:
            return await self._app(scope, receive, send)
        address = f"failures of {client_address(scope)}"
        self._buckets.check(address, FAILURES_PER_MINUTE)
        name = self._caller(scope)
        self._buckets.take(name, self._per_minute)

        async def watch(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 401:
                self._count(address)
            await send(message)

        token = caller.set(name)
        try:
            await self._app(scope, receive, watch)
        finally:
            caller.reset(token)

    def _count(self, address: str) -> None:
        try:
            self._buckets.take(address, FAILURES_PER_MINUTE)
        except TooMany:
            return  # this one was on its way; the next is refused

    def _caller(self, scope: Scope) -> str:
        credential = Headers(scope=scope).get("authorization", "")
        if not credential:
            return f"address {client_address(scope)}"
        return f"credential {hashlib.sha256(credential.encode('utf-8', 'replace')).hexdigest()}"


def client_address(scope: Scope) -> str:
    """Return the caller's address; empty on a Unix socket."""
    client = scope.get("client")
    return str(client[0]) if client else ""


class BodyLimit:
    """ASGI: reads the body before the application does, and raises TooLarge as soon as it is over the limit.

    Counting while the application reads would be simpler, but it takes any error there for a broken body.
    """

    def __init__(self, app: ASGIApp, *, largest: int) -> None:
        self._app, self._largest = app, largest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its whole body, or raise TooLarge or BadInput."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        if "\x00" in scope["path"] or b"%00" in scope.get("query_string", b""):
            raise BadInput("the address holds a NUL; remove it")
        declared = Headers(scope=scope).get("content-length", "")
        if declared.isdecimal() and int(declared) > self._largest:
            self._refuse()
        messages = iter(await self._read(receive))

        async def replay() -> Message:
            return next(messages, None) or await receive()

        await self._app(scope, replay, send)

    async def _read(self, receive: Receive) -> list[Message]:
        messages, size = [], 0
        while True:
            message = await receive()
            messages.append(message)
            size += len(message.get("body", b""))
            if size > self._largest:
                self._refuse()
            if message["type"] != "http.request" or not message.get("more_body", False):
                return messages

    def _refuse(self) -> None:
        raise TooLarge(
            f"the body is over {self._largest} bytes; send less at a time (TRILLIUM_LIMITS__BODY_BYTES "
            "sets the limit of a service)"
        )
