"""The way to the services: settings, this person's token, typed clients, and what goes wrong."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

import httpx2
import streamlit as st

from dashboards.access import COOKIE
from shared.errors import Unauthenticated, Unavailable
from shared.settings import Settings, load_settings
from shared.web.client import ServiceClient

Client = TypeVar("Client", bound=ServiceClient)
PATIENCE_S = 20.0  # a cold model may take some seconds for its first answer

_configured: tuple[Settings, str | None] | None = None


def configure(given: Settings, only: str | None = None) -> None:
    """Use these settings in this process; `only` names the one application to show."""
    global _configured
    _configured = (given, only)


def reset() -> None:
    """Forget the settings that were given, so that the next call reads this process's own."""
    global _configured
    _configured = None


def settings() -> Settings:
    """Return the settings of this process."""
    return _configured[0] if _configured else load_settings()


def apps() -> list[str]:
    """Return the applications that this process shows."""
    only = _configured[1] if _configured else None
    return [app for app in settings().apps if only in (None, app)]


@dataclass(frozen=True)
class Person:
    """Who is signed in; `roles` are `app:role`."""

    name: str
    roles: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()

    def sees(self, app: str) -> bool:
        """Whether any role is one of `app`."""
        return any(role.partition(":")[0] == app for role in self.roles)

    def holds(self, app: str, role: str) -> bool:
        """Whether the person has exactly this role in `app`; the services check it again."""
        return f"{app}:{role}" in self.roles


@st.cache_resource(show_spinner=False)
def _connections() -> httpx2.Client:
    # One pool for all sessions: httpx2's client may be shared between threads. It keeps no cookies of ours.
    return httpx2.Client(timeout=httpx2.Timeout(PATIENCE_S, connect=3.0))


def token() -> str:
    """Return this browser's token; raises Unauthenticated without one.

    It comes with the cookie; a page that runs without a browser (AppTest) is given it in its session state.
    """
    found = st.session_state.get("token") or st.context.cookies.get(COOKIE)
    if not found:
        raise Unauthenticated("no session cookie came with the request; sign in")
    return str(found)


def client(kind: type[Client], app: str) -> Client:
    """Return a client of `app` that calls with this person's token."""
    return kind(settings().url(app), token=token(), http=_connections())


def person(wanted: Iterable[str] | None = None) -> Person:
    """Return who is signed in, as the first service that can be reached says.

    Raises Unauthenticated when the session has ended, Unavailable when no service answers.
    """
    known: tuple[str, Person] | None = st.session_state.get("person")
    if known is not None and known[0] == token():
        return known[1]
    for app in wanted or apps():
        try:
            me = client(ServiceClient, app).me()
        except Unavailable:
            continue
        found = Person(str(me["person"]), tuple(me["roles"]), tuple(me["groups"]))
        st.session_state["person"] = (token(), found)
        return found
    raise Unavailable("no service answers")
