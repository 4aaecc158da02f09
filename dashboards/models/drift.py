"""The drift of a version: what arrives now beside what it was measured on, and what faster engines lose."""

from collections.abc import Mapping
from typing import Any

import streamlit as st

from dashboards import connect, states
from dashboards.models import versions as of
from dashboards.models.versions import Version
from dashboards.parts import badge, heading, safe, show, table, tag
from dashboards.wording import T, name_of
from shared.web.client import ServiceClient

ARRIVE = {"recommender": "items"}  # else texts that are answered or scored


def tab(app: str, version: Version) -> None:
    """Show both; recent texts are compared when asked, since the model reads them all for it."""
    if version.live:
        _arrived(app, version)
    _engines(version)


def _arrived(app: str, version: Version) -> None:
    kept = f"drift-{app}-{version.ref}"
    text, button = st.columns([70, 30], gap="small", vertical_alignment="center")
    with text:
        show(heading(T("models.recent")), tag("div", safe(T(f"recent_note.{_what(app)}")), "tr-sub"))
    with (
        button,
        st.container(horizontal=True, horizontal_alignment="right", key="drift-act"),
        states.shown(T("models.recent")),
    ):
        if st.button(T("models.recent_compare"), icon=":material/difference:", key="drift-compare"):
            with st.spinner(T("models.recent_reading")):
                st.session_state[kept] = connect.client(ServiceClient, app).drift()
    told = st.session_state.get(kept)
    if isinstance(told, Mapping):
        _compared(told, _what(app))


def _what(app: str) -> str:
    return ARRIVE.get(app, "texts")


def _compared(told: Mapping[str, Any], what: str) -> None:
    if not told["figures"]:
        states.empty("recent" if told["reference"] else "reference")
        return
    rows = [
        (
            safe(" · ".join(part for part in (name_of("arrived", one["what"]), one["head"]) if part)),
            safe(name_of("shift", one["figure"])),
            safe(f"{one['value']:.4f}"),
            safe(f"{one['p_value']:.3f}"),
            badge(T("models.moved"), "orange", "◆")
            if one["moved"]
            else badge(T("models.steady"), "green", "✓"),
        )
        for one in told["figures"]
    ]
    show(
        tag(
            "div",
            safe(T(f"recent_rows.{what}", current=told["current"], reference=told["reference"])),
            "tr-sub",
        ),
        table([T(f"models.recent_{name}") for name in _COLUMNS], rows, right=(2, 3)),
    )


_COLUMNS = ("what", "figure", "value", "p_value", "verdict")


def _engines(version: Version) -> None:
    measured = of.compressed(version.details.get("compressed"))
    if not measured:
        states.empty("drift")
        return
    show(heading(T("models.engines")), tag("div", safe(T("models.drift_note")), "tr-sub"))
    rows = []
    for one in measured:
        slots = "".join(badge(name_of("slot", name), "blue") for name in one.slots)
        if one.why:
            rows.append((safe(one.name), "", "", tag("span", safe(one.why), "tr-soft-line"), "", ""))
            continue
        within = (
            badge(T("models.within"), "green", "✓")
            if one.within
            else badge(T("models.beyond"), "orange", "◆")
        )
        lost = "".join(
            tag("div", f"{safe(head)} {safe(_loss(loss))} {tag('span', safe(metric), 'tr-soft')}")
            for head, metric, loss in one.losses
        )
        times = (safe(f"{one.latency_ms:.2f}"), safe(f"{one.batch_ms:.3f}"))
        rows.append((safe(one.name), *times, lost, within, slots))
    columns = ("engine", "one_text", "in_batch", "loses", "limit", "serves")
    show(table([T(f"models.drift.{name}") for name in columns], rows, right=(1, 2)))


def _loss(loss: float) -> str:
    return f"{max(loss, 0.0):.4f}" if abs(loss) < 0.00005 or loss > 0 else f"{loss:.4f}"
