"""What a pane shows when there is nothing to show: loading, empty, error, no rights, stale, offline."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

import streamlit as st

from dashboards.parts import safe, show, tag
from dashboards.wording import T
from shared.errors import Denied, TrilliumError, Unauthenticated, Unavailable


def _block(kind: str, title: str, *lines: str) -> None:
    text = tag("b", safe(title)) + "".join(tag("p", safe(line)) for line in lines if line)
    show(tag("div", text, "tr-state", f"tr-state-{kind}"))


def loading(height: int) -> None:
    """Show a skeleton of the final size in pixels."""
    st.skeleton(height)


def empty(what: str) -> None:
    """Show that there is nothing yet: what, why, and the next step (texts `empty.<what>.*`)."""
    _block("empty", T(f"empty.{what}.title"), T(f"empty.{what}.why"), T(f"empty.{what}.next"))


def error(what: str, problem: TrilliumError) -> None:
    """Show what failed, what the service said, and the id under which its log tells more."""
    log_id = str(problem.extra.get("request_id", ""))
    _block("error", T("state.error", what=what), problem.detail, T("state.log", id=log_id) if log_id else "")


def no_rights(what: str, problem: Denied, roles: tuple[str, ...] = ()) -> None:
    """Show the role that is held, the one that is needed, and whom to ask."""
    held = ", ".join(roles) or T("state.no_role")
    _block(
        "empty",
        T("state.no_rights", what=what),
        problem.detail,
        T("state.held", roles=held),
        T("state.ask_admin"),
    )


def stale(text: str) -> None:
    """Show an amber line above data that stays."""
    show(tag("div", f"◆ {safe(text)}", "tr-line", "tr-orange"))


def offline(last: datetime | None = None) -> None:
    """Show a red line; what was fetched at `last` stays below it."""
    when = T("state.since", time=f"{last:%H:%M:%S}") if last else T("state.retry")
    show(tag("div", f"■ {safe(T('state.offline'))} {safe(when)}", "tr-line", "tr-red"))


def signed_out() -> None:
    """Show that the session has ended, with the way back in."""
    link = f'<a href="/login" target="_self">{safe(T("state.sign_in"))}</a>'
    show(tag("div", tag("b", safe(T("state.signed_out"))) + tag("p", link), "tr-state", "tr-state-empty"))


@contextmanager
def shown(what: str, last: datetime | None = None) -> Iterator[None]:
    """Turn an error of the services inside the block into its state; `what` names the pane."""
    try:
        yield
    except Unauthenticated:
        signed_out()
    except Denied as problem:
        known = st.session_state.get("person")
        no_rights(what, problem, known[1].roles if known else ())
    except Unavailable as problem:
        if problem.extra:
            error(what, problem)  # the service itself answered (it names a request id): it says what to run
        else:
            offline(last)
    except TrilliumError as problem:
        error(what, problem)
