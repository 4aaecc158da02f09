"""Who calls, and what they may: roles on a ladder per application."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from starlette.requests import HTTPConnection

from shared.errors import Denied, Unauthenticated


@dataclass(frozen=True)
class Principal:
    """A person or a machine, with roles such as "app:admin" and the groups whose documents it may read."""

    name: str
    roles: frozenset[str]
    groups: frozenset[str]

    def may(self, role: str, ladder: Sequence[str]) -> bool:
        """Whether a held role is `role` or above it on `ladder` (lowest first)."""
        if role not in ladder:
            return role in self.roles
        return not self.roles.isdisjoint(ladder[ladder.index(role) :])


@lru_cache
def require(role: str) -> Callable[[HTTPConnection], Principal]:
    """Return a FastAPI dependency that gives the caller, who must hold `role` or one above it.

    The service finds the caller and keeps its ladder in `app.state.ladder`. Raises Unauthenticated
    (401) without valid credentials and Denied (403) with too low a role.
    """

    def caller(connection: HTTPConnection) -> Principal:
        principal = signed_in(connection)
        if not principal.may(role, connection.app.state.ladder):
            raise Denied(f"this needs the role {role}; {principal.name} has {_listed(principal)}")
        return principal

    return caller


def signed_in(connection: HTTPConnection) -> Principal:
    """Return the caller, whatever their roles; a FastAPI dependency. Raises Unauthenticated."""
    principal: Principal | None = connection.app.state.authenticate(connection)
    if principal is None:
        raise Unauthenticated("sign in at POST /v1/sessions, or send `Authorization: Bearer KEY`")
    return principal


def _listed(principal: Principal) -> str:
    return ", ".join(sorted(principal.roles)) or "no role"
