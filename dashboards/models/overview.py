"""The models of every application a person may see: versions, what the gate said, and who may move live."""

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd
import streamlit as st

from dashboards import charts, connect, states
from dashboards.components import picklist
from dashboards.models import versions as of
from dashboards.models.versions import Version
from dashboards.parts import badge, bar, heading, page_title, safe, show, table, tag
from dashboards.wording import T, name_of
from shared.errors import TrilliumError
from shared.web.client import ServiceClient

CHART = 360  # pixels
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
    with states.shown(T("models.title")):
        answer = connect.client(ServiceClient, str(app)).models(limit=MOST)
    if answer is None:
        return
    found = of.versions(answer)
    left, right = st.columns([36, 64], gap="small")
    with left:
        chosen = _list_pane(str(app), found)
    with right:
        _version_pane(chosen)
    with act_box:
        if person.holds(str(app), "admin"):  # the service checks it too
            _actions(str(app), chosen, answer["rollback_to"])


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


def _list_pane(app: str, found: list[Version]) -> Version | None:
    with st.container(key="fill-bar-versions", height=600, border=True, gap="small"):
        show(heading(T("models.versions"), T("models.newest") if found else ""))
        if not found:
            states.empty("versions")
            return None
        with st.container(height="stretch", border=False, key="scroll-versions"):
            ref = picklist(
                T("models.versions"), [_row(v) for v in found], key=f"versions-{app}", picked=found[0].ref
            )
        return next((version for version in found if version.ref == ref), found[0])


def _version_pane(version: Version | None) -> None:
    with st.container(key="fill-bar-version", height=600, border=True, gap="small"):
        if version is None:
            show(heading(T("models.version")))
            states.empty("version")
            return
        marks = [badge(T("models.live"), "blue")] if version.live else []
        show(heading(version.ref, _sub(version), _verdict(version), *marks))
        if version.gate.get("reason"):
            show(tag("div", safe(version.gate["reason"]), "tr-line", "tr-orange"))
        made: dict[str, Callable[[Version], None]] = {"figures": _figures}
        made |= {name: show_it for name, (show_it, there) in _CHARTS.items() if there(version)}
        for tab, body in zip(st.tabs([T(f"models.tab.{name}") for name in made]), made.values(), strict=True):
            with tab:
                body(version)


def _verdict(version: Version) -> str:
    if version.passed is None:
        return badge(T("models.ungated"))
    if version.passed:
        return badge(T("models.gate_passed"), "green", "✓")
    return badge(T("models.gate_refused"), "orange", "◆")


def _figures(version: Version) -> None:
    duel = of.compared(version.metrics)
    if duel is not None:
        name, value, others = duel
        rows = [(T("models.this"), value), *others]
        scores = [(safe(who), bar(score), safe(f"{score:.3f}")) for who, score in rows]
        show(table((name_of("figure", name), "", T("models.score")), scores, right=(2,)))
    done = {duel[0], "live", "plain"} if duel else set()
    rest = of.figures({k: v for k, v in version.metrics.items() if k not in done})
    if rest:
        cells = [(safe(name_of("figure", name)), safe(f"{value:,.4g}")) for name, value in rest]
        show(table((T("models.figure"), T("models.score")), cells, right=(1,)))
    parts_of = [
        (safe(name), safe(f"{rows:,}"), "–" if score is None else safe(f"{score:.3f}"))
        for name, rows, score in of.slices(version.metrics)
    ]
    if parts_of:
        show(table((T("models.slice"), T("models.rows"), T("models.score")), parts_of, right=(1, 2)))
    kept = of.figures(version.details.get("evaluation", {}))
    if kept:
        held = [(safe(name), safe(f"{value:,.4g}")) for name, value in kept]
        show(table((T("models.validation"), T("models.score")), held, right=(1,)))
    if duel is None and not rest and not kept:
        states.empty("figures")
    parts = [(safe(name_of("role", role)), safe(ref)) for role, ref in version.parents.items()]
    if parts:
        show(table((T("models.part"), T("models.version")), parts))


def _curves(version: Version) -> None:
    frame = pd.DataFrame(of.curves(version.details["curves"]), columns=["step", "series", "value"])
    frame["series"] = [name_of("curve", name) for name in frame["series"]]
    names = (T("models.step"), T("models.score"))
    chart = charts.lines(frame, x="step", y="value", series="series", height=CHART, names=names)
    charts.put(chart, key="models-curves", alt_text=T("models.curves_alt", n=frame["series"].nunique()))


def _head(version: Version, kept: str) -> Mapping[str, Any]:
    """Return the evaluation of the chosen head; with one head there is nothing to choose."""
    heads = of.heads_with(version.details, kept)
    if len(heads) == 1:
        return next(iter(heads.values()))
    label, key = T("models.head"), f"models-head-{kept}"
    chosen = st.segmented_control(label, list(heads), default=next(iter(heads)), required=True, key=key)
    return heads[str(chosen)]


def _calibration(version: Version) -> None:
    bins = _head(version, "reliability")["reliability"]
    frame = pd.DataFrame([(each["confidence"], each["accuracy"], each["rows"]) for each in bins])
    frame.columns = pd.Index(["said", "right", "count"])
    chart = charts.calibration(frame, height=CHART, names=(T("models.said"), T("models.right")))
    charts.put(chart, key="models-calibration", alt_text=T("models.calibration_alt"))
    show(tag("div", safe(T("models.calibration_note")), "tr-sub"))


def _confusion(version: Version) -> None:
    head = _head(version, "confusion")
    labels, cells = of.confusion(head)
    names = (T("models.truth"), T("models.predicted"))
    chart = charts.confusion(pd.DataFrame(cells), labels, height=CHART, names=names)
    charts.put(chart, key="models-confusion", alt_text=T("models.confusion_alt", n=len(labels)))
    if len(labels) < len(head["labels"]):
        show(tag("div", safe(T("models.confusion_part", shown=len(labels), n=len(head["labels"]))), "tr-sub"))


# A tab: what it shows, and whether this version kept what it needs.
_CHARTS: dict[str, tuple[Callable[[Version], None], Callable[[Version], bool]]] = {
    "curves": (_curves, lambda version: bool(of.curves(version.details.get("curves", {})))),
    "calibration": (_calibration, lambda version: bool(of.heads_with(version.details, "reliability"))),
    "confusion": (_confusion, lambda version: bool(of.heads_with(version.details, "confusion"))),
}


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
