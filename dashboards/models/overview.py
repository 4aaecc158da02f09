"""The models of every application a person may see: versions, what the gate said, and who may move live."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import streamlit as st

from dashboards import connect, states
from dashboards.components import picklist
from dashboards.models import about, compare
from dashboards.models import runs as of_runs
from dashboards.models import versions as of
from dashboards.models.runs import Run
from dashboards.models.versions import Version
from dashboards.parts import badge, heading, page_title, safe, show, tag
from dashboards.wording import T
from shared.errors import NotFound, TrilliumError
from shared.web.client import ServiceClient

MOST = 200  # artifacts asked for, the API's own limit


def page() -> None:
    """Show the page."""
    person = connect.person()
    apps = [app for app in _in_order(connect.apps()) if person.sees(app)]
    title_box, choice_box, act_box = st.columns([3, 4, 3], gap="small", vertical_alignment="center")
    with title_box:
        show(page_title(T("models.title")))
    app = choice_box.segmented_control(
        T("models.app"),
        apps,
        default=apps[0],
        required=True,
        format_func=lambda a: T(f"app_name.{a}") if a else a,
        label_visibility="collapsed",
        key="models-app",
    )
    answer: dict[str, Any] | None = None
    trained: Sequence[Run] = ()
    with states.shown(T("models.title")):
        service = connect.client(ServiceClient, str(app))
        answer = service.models(limit=MOST)
        trained = of_runs.runs(service.runs(limit=MOST))
    if answer is None:
        return
    found = of.versions(answer)
    left, right = st.columns([36, 64], gap="small")
    with left, st.container(key="fill-bar-versions", height=600, border=True, gap="small"):
        view = _view()
        chosen = _list(str(app), found) if view == "versions" else None
        run = _runs_list(str(app), trained) if view == "runs" else None
    with right:
        if view == "runs":
            compare.pane(run, trained)
        else:
            _version_pane(str(app), _whole(str(app), chosen))
    with act_box:
        if view == "versions" and person.holds(str(app), "admin"):  # the service checks it too
            _actions(str(app), chosen, answer["rollback_to"])


def _view() -> str:
    return str(
        st.segmented_control(
            T("models.shown"),
            ["versions", "runs"],
            default="versions",
            required=True,
            format_func=lambda name: T(f"models.{name}") if name else name,
            label_visibility="collapsed",
            key="models-view",
        )
    )


def _whole(app: str, version: Version | None) -> Version | None:
    """Return the version with all that its folder tells; an older service tells what its list told."""
    if version is None:
        return None
    try:
        told = connect.client(ServiceClient, app).model(version.ref)
    except NotFound:
        return version
    return replace(version, details={**version.details, **{k: v for k, v in told.items() if v is not None}})


def _in_order(apps: list[str]) -> list[str]:
    from dashboards.pages import sections  # this page is one of them: at the top the import would be circular

    order = {section.app: section.order for section in sections()}
    return sorted(apps, key=lambda app: order.get(app, len(order)))


def _sub(version: Version) -> str:
    when = f"{version.created:%d %b %Y %H:%M}"
    against = version.gate.get("compared_with")
    return " · ".join(part for part in (when, T("models.against", name=against) if against else "") if part)


def _row(version: Version) -> dict[str, Any]:
    verdict = {True: "models.passed", False: "models.refused", None: "models.ungated"}[version.passed]
    return {
        "id": version.ref,
        "title": version.ref,
        "sub": _sub(version),
        "side": T("models.live") if version.live else T(verdict),
        "tone": "strong" if version.live else "",
    }


def _list(app: str, found: Sequence[Version]) -> Version | None:
    if not found:
        states.empty("versions")
        return None
    with st.container(height="stretch", border=False, key="scroll-versions"):
        ref = picklist(
            T("models.versions"), [_row(v) for v in found], key=f"versions-{app}", picked=found[0].ref
        )
    return next((version for version in found if version.ref == ref), found[0])


def _runs_list(app: str, trained: Sequence[Run]) -> Run | None:
    if not trained:
        states.empty("runs")
        return None
    with st.container(height="stretch", border=False, key="scroll-runs"):
        rows = [compare.row(run) for run in trained]
        ref = picklist(T("models.runs"), rows, key=f"runs-{app}", picked=trained[0].ref)
    return next((run for run in trained if run.ref == ref), trained[0])


def _version_pane(app: str, version: Version | None) -> None:
    with st.container(key="fill-bar-version", height=600, border=True, gap="small"):
        if version is None:
            show(heading(T("models.version")))
            states.empty("version")
            return
        marks = [badge(T("models.live"), "blue")] if version.live else []
        show(heading(version.ref, _sub(version), _verdict(version), *marks))
        if version.gate.get("reason"):
            show(tag("div", safe(version.gate["reason"]), "tr-line", "tr-orange"))
        about.tabs(app, version)


def _verdict(version: Version) -> str:
    if version.passed is None:
        return badge(T("models.ungated"))
    if version.passed:
        return badge(T("models.gate_passed"), "green", "✓")
    return badge(T("models.gate_refused"), "orange", "◆")


def _actions(app: str, chosen: Version | None, before: str | None) -> None:
    with st.container(
        horizontal=True, wrap=False, horizontal_alignment="right", gap="xsmall", key="models-actions"
    ):
        ready = chosen is not None and not chosen.live
        if (
            st.button(
                T("models.promote"),
                type="primary",
                icon=":material/publish:",
                disabled=not ready,
                key="promote",
            )
            and chosen
        ):
            _promote(app, chosen)
        if st.button(T("models.roll_back"), icon=":material/undo:", disabled=before is None, key="roll-back"):
            _roll_back(app, str(before))


def _moved(move: Callable[[], object]) -> None:
    try:
        move()
    except TrilliumError as problem:
        states.error(T("models.move"), problem)
        return
    st.rerun()


@st.dialog(" ", width="small")
def _promote(app: str, version: Version) -> None:
    show(heading(T("models.promote_title")))
    show(tag("div", safe(T("models.promote_text", ref=version.ref)), "tr-text"))
    if version.passed is False:
        states.stale(T("models.override"))
    if st.button(T("models.promote"), type="primary", key="promote-yes"):
        _moved(lambda: connect.client(ServiceClient, app).promote(version.ref))


@st.dialog(" ", width="small")
def _roll_back(app: str, before: str) -> None:
    show(heading(T("models.roll_back_title")))
    show(tag("div", safe(T("models.roll_back_text", ref=before)), "tr-text"))
    if st.button(T("models.roll_back"), type="primary", key="roll-back-yes"):
        _moved(lambda: connect.client(ServiceClient, app).rollback())
