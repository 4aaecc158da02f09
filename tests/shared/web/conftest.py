"""A small service over a real store and a real accounts database."""

from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Annotated

import pytest
import structlog
from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict
from starlette.testclient import TestClient

from shared.artifacts.store import ArtifactStore
from shared.errors import Conflict, StorageFull, Unavailable
from shared.settings import load_settings
from shared.storage.engine import database_for
from shared.storage.migrate import migrate, open_checked
from shared.telemetry import configure_logs
from shared.web.accounts import Accounts, Base
from shared.web.principal import Principal, require
from shared.web.service import create_service

LADDER = ("app:viewer", "app:editor", "app:admin")
PASSWORD = "correct horse"


class Hands:
    """A clock that is set by hand."""

    def __init__(self):
        self.time = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self):
        return self.time

    def forward(self, **delta):
        self.time += timedelta(**delta)


class Thing(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str
    size: int = 1


def things():
    router = APIRouter(prefix="/v1")

    @router.post("/things")
    def make(thing: Thing, caller: Annotated[Principal, Depends(require("app:editor"))]) -> dict[str, str]:
        return {"made": thing.name, "by": caller.name}

    @router.get("/things/{name}", dependencies=[Depends(require("app:viewer"))])
    def read(name: str, k: Annotated[int, Query(ge=1, le=100)] = 10) -> dict[str, str]:
        errors = {"conflict": Conflict("taken", extra={"other": "b"}), "full": StorageFull("no room")}
        errors |= {"down": Unavailable("later", retry_after=7), "bug": ZeroDivisionError("secret value")}
        if name in errors:
            raise errors[name]
        return {"name": name}

    @router.delete("/things/{name}", dependencies=[Depends(require("app:admin"))])
    def remove(name: str) -> dict[str, str]:
        return {"removed": name}

    return router


@pytest.fixture
def world(tmp_path):
    yield from _world({"home": str(tmp_path)}, tmp_path)


@pytest.fixture
def make_world(tmp_path):
    made = []

    def make(**arguments):
        generator = _world({"home": str(tmp_path), **arguments}, tmp_path)
        made.append(generator)
        return next(generator)

    yield make
    for generator in made:
        next(generator, None)


def _world(arguments, home):
    settings, clock, log = load_settings(arguments, env={}), Hands(), []
    texts = []
    configure_logs()
    if settings.database.url:
        migrate(settings)
    store = ArtifactStore(home / "artifacts", clock)
    state = SimpleNamespace(reason=None)

    @contextmanager
    def hook():
        log.append("start")
        yield
        log.append("stop")

    app = create_service(
        "app",
        settings,
        routers=[things()],
        ready=lambda: state.reason,
        store=store,
        ladder=LADDER,
        lifespan=[hook],
        recent=lambda most: texts[:most],
        clock=clock,
    )
    with database_for(settings, "accounts", Base.metadata) as db:
        accounts = Accounts(open_checked(db), clock)
        accounts.add_user("ann", PASSWORD, ["app:admin"], ["staff"])
        keys = {role: accounts.create_key(role, [f"app:{role}"])[1] for role in ("viewer", "editor", "admin")}
        with TestClient(app) as client:
            yield SimpleNamespace(
                client=client,
                app=app,
                texts=texts,
                accounts=accounts,
                keys=keys,
                clock=clock,
                store=store,
                settings=settings,
                state=state,
                log=log,
                auth=lambda role: {"Authorization": f"Bearer {keys[role]}"},
            )
    structlog.reset_defaults()
