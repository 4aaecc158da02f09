"""The one way to make a service: an application brings its routes, the rest is the same everywhere."""

import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    AsyncExitStack,
    asynccontextmanager,
)
from importlib.metadata import PackageNotFoundError, version
from typing import TypeAlias

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from prometheus_client import CollectorRegistry
from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection

from shared.artifacts.store import ArtifactStore
from shared.clock import Clock
from shared.errors import Unauthenticated
from shared.settings import Settings
from shared.storage.engine import ACCOUNTS, database_for
from shared.storage.migrate import open_checked
from shared.web.accounts import KEY_PREFIX, Accounts, Base
from shared.web.drift_api import Recent, drift_router
from shared.web.envelope import Envelope, Figures
from shared.web.health import health_router, reason_of
from shared.web.limits import BodyLimit, Buckets, RateLimit
from shared.web.models_api import models_router
from shared.web.people import people_router
from shared.web.principal import Principal
from shared.web.problems import declare_problems, handle_errors
from shared.web.sessions import Sessions

Hook: TypeAlias = Callable[[], AbstractContextManager[object]]


class Gatekeeper:
    """Finds out who calls. The accounts database is opened and its schema checked at the first use."""

    def __init__(self, settings: Settings, clock: Clock | None = None) -> None:
        self.db = database_for(settings, ACCOUNTS, Base.metadata)
        self.sessions = Sessions(settings, clock)
        self._accounts = Accounts(self.db, clock)
        self._checked = False
        self._lock = threading.Lock()

    @property
    def accounts(self) -> Accounts:
        """The people and keys; raises Conflict for an old schema, Unavailable without the database."""
        if not self._checked:
            with self._lock:
                if not self._checked:
                    open_checked(self.db)
                    self._checked = True
        return self._accounts

    def authenticate(self, connection: HTTPConnection) -> Principal:
        """Return the caller of a request by its bearer token; raises Unauthenticated."""
        scheme, _, credential = connection.headers.get("authorization", "").partition(" ")
        credential = credential.strip()
        if scheme.lower() != "bearer" or not credential:
            raise Unauthenticated("sign in at POST /v1/sessions, or send `Authorization: Bearer KEY`")
        if credential.startswith(KEY_PREFIX):
            return self.accounts.principal_for_key(credential)
        return self.accounts.principal_named(self.sessions.verify(credential))


def create_service(
    name: str,
    settings: Settings,
    *,
    routers: Sequence[APIRouter],
    ready: Callable[[], str | None],
    store: ArtifactStore,
    ladder: Sequence[str],
    lifespan: Sequence[Hook] = (),
    admin_role: str | None = None,
    recent: Recent | None = None,
    clock: Clock | None = None,
) -> FastAPI:
    """Return the service `name` with the application's routes and all that services share.

    `ladder` are the roles, lowest first, such as ("app:viewer", "app:admin"); the lowest may read
    the models API, `admin_role` (by default the highest) may move live. `recent` gives the newest texts for
    /v1/drift, which is not there without it. `ready` returns None, or why
    not and what to do (then /readyz is 503). Each hook of `lifespan` is entered at the start, in
    order, and left at the stop. Nothing is opened here. `app.state.registry` takes further figures,
    `app.state.draining` is true from the moment that the process was asked to stop.
    """
    gatekeeper, registry = Gatekeeper(settings, clock), CollectorRegistry()
    # The docs pages load their scripts from another host: /openapi.json is for tools of one's own.
    app = FastAPI(
        title=f"Trillium {name}",
        version=_version(),
        docs_url=None,
        redoc_url=None,
        lifespan=_lifespan(gatekeeper, lifespan),
    )
    app.state.ladder, app.state.authenticate = tuple(ladder), gatekeeper.authenticate
    app.state.registry, app.state.draining = registry, False
    buckets = Buckets()

    def whole() -> str | None:
        return reason_of(lambda: gatekeeper.accounts) or ready()

    every = (
        health_router(whole, registry),
        people_router(gatekeeper, buckets),
        models_router(name, store, ladder[0], admin_role or ladder[-1]),
        *([drift_router(name, store, ladder[0], recent)] if recent is not None else []),
        *routers,
    )
    for router in every:
        app.include_router(router)
    app.state.routes = [route for router in every for route in router.routes if isinstance(route, APIRoute)]
    handle_errors(app)
    declare_problems(app)
    # The last one added is the outermost.
    app.add_middleware(BodyLimit, largest=settings.limits.body_bytes)
    app.add_middleware(RateLimit, buckets=buckets, per_minute=settings.limits.requests_per_minute)
    app.add_middleware(Envelope, figures=Figures(name, registry))
    return app


def _lifespan(
    gatekeeper: Gatekeeper, hooks: Sequence[Hook]
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def run(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            stack.callback(gatekeeper.db.close)
            for hook in hooks:
                manager = hook()
                await run_in_threadpool(manager.__enter__)
                stack.push(manager)
            yield
            app.state.draining = True

    return run


def _version() -> str:
    try:
        return version("trillium-suite")
    except PackageNotFoundError:  # a checkout that isn't installed
        return "0"
