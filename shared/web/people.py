"""Signing in, and who one is."""

from typing import Annotated, Protocol

from fastapi import APIRouter, Depends, Request
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from shared.errors import Unauthenticated
from shared.web.accounts import Accounts
from shared.web.limits import LOGINS_PER_MINUTE, Buckets, client_address
from shared.web.principal import Principal, signed_in
from shared.web.sessions import Sessions


class Doors(Protocol):
    """Where people and sessions come from."""

    sessions: Sessions

    @property
    def accounts(self) -> Accounts:
        """The accounts, opened at the first use."""


class Login(BaseModel):
    """A name and its password."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=100)]
    # argon2's work grows with the length; nobody types more.
    password: Annotated[str, Field(min_length=1, max_length=1_000)]


class Me(BaseModel):
    """Who calls, with the roles and groups of this moment."""

    person: str
    roles: list[str]
    groups: list[str]


class Session(Me):
    """A new session; send `token` as `Authorization: Bearer` until `expires`."""

    token: str
    expires: AwareDatetime


def people_router(doors: Doors, buckets: Buckets) -> APIRouter:
    """Return POST /v1/sessions and GET /v1/me."""
    router = APIRouter(prefix="/v1", tags=["people"])

    @router.post("/sessions")
    def sessions(login: Login, request: Request) -> Session:
        bucket = f"login of {login.name} from {client_address(request.scope)}"
        buckets.check(bucket, LOGINS_PER_MINUTE)
        try:
            principal = doors.accounts.verify(login.name, login.password)
        except Unauthenticated:
            buckets.take(bucket, LOGINS_PER_MINUTE)
            raise
        token, expires = doors.sessions.issue(principal.name)
        return Session(token=token, expires=expires, **_me(principal).model_dump())

    @router.get("/me")
    def me(caller: Annotated[Principal, Depends(signed_in)]) -> Me:
        return _me(caller)

    return router


def _me(principal: Principal) -> Me:
    return Me(person=principal.name, roles=sorted(principal.roles), groups=sorted(principal.groups))
