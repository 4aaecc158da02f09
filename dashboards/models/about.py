"""The tabs of one version: figures, curves, calibration, confusions, drift, its card."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from dashboards import charts, states
from dashboards.models import card, drift
from dashboards.models import versions as of
from dashboards.models.versions import Version
from dashboards.parts import bar, heading, safe, show, table, tag
from dashboards.wording import T, name_of

TALL, HALF = 440, 205  # pixels: one chart, or each of two, in a pane of a window 768 high
SIDES = [52, 48]  # a chart and the table beside it


def tabs(app: str, version: Version) -> None:
    """Show the tabs for which this version of application `app` kept something; drift and card say what to do
    where they lack."""
    made: dict[str, Callable[[Version], None]] = {"figures": _figures}
    made |= {name: show_it for name, (show_it, there) in _CHARTS.items() if there(version)}
    made |= {"drift": functools.partial(drift.tab, app), "card": _card}
    for tab, body in zip(st.tabs([T(f"models.tab.{name}") for name in made]), made.values(), strict=True):
        with tab:
            body(version)


def _figures(version: Version) -> None:
    duel = of.compared(version.metrics)
    if duel is not None:
        name, value, others = duel
        rows = [(T("models.this"), value), *others]
        scores = [(safe(who), bar(score), safe(f"{score:.3f}")) for who, score in rows]
        show(table((name_of("figure", name), "", T("models.score")), scores, right=(2,)))
    done = {duel[0], "live", "plain"} if duel else set()
    rest = of.figures({k: v for k, v in version.metrics.items() if k not in done})
    kept = [one for one in of.figures(version.details.get("evaluation", {})) if ".sets." not in one[0]]
    _pairs((T("models.figure"), T("models.score")), rest)
    parts_of = [
        (safe(name), safe(f"{rows:,}"), "–" if score is None else safe(f"{score:.3f}"))
        for name, rows, score in of.slices(version.metrics)
    ]
    if parts_of:
        show(table((T("models.slice"), T("models.rows"), T("models.score")), parts_of, right=(1, 2)))
    _pairs((T("models.validation"), T("models.score")), kept)
    if duel is None and not rest and not kept:
        states.empty("figures")
    parts = [(safe(name_of("role", role)), safe(ref)) for role, ref in version.parents.items()]
    if parts:
        show(table((T("models.part"), T("models.version")), parts))


def _pairs(head: tuple[str, str], rows: Sequence[tuple[str, float]]) -> None:
    if rows:
        cells = [(safe(_named(name)), safe(f"{value:,.4g}")) for name, value in rows]
        show(table(head, cells, right=(1,)))


def _named(dotted: str) -> str:
    above, _, name = dotted.rpartition(".")
    return " · ".join(part for part in (above, name_of("figure", name)) if part)


def _curves(version: Version) -> None:
    frame = pd.DataFrame(of.curves(version.details["curves"]), columns=["step", "series", "value"])
    losses = frame["series"].isin(("training_loss", "validation_loss"))
    for kind, rows in (("loss", frame[losses]), ("score", frame[~losses])):
        if not rows.empty:
            named = rows.assign(series=[name_of("curve", name) for name in rows["series"]])
            lines(named, kind, key=f"models-curves-{kind}")


def lines(rows: pd.DataFrame, kind: str, *, key: str) -> None:
    """Show a titled chart of lines; `kind` is loss or score, rows have step, series and value."""
    show(tag("div", safe(T(f"models.curve_{kind}")), "tr-name"))
    names = (T("models.step"), T(f"models.axis_{kind}"))
    chart = charts.lines(rows, x="step", y="value", series="series", height=HALF, names=names)
    charts.put(chart, key=key, alt_text=T("models.curves_alt", n=rows["series"].nunique()))


def _head(version: Version, kept: str) -> Mapping[str, Any]:
    """Return the evaluation of the chosen head; with one head there is nothing to choose."""
    heads = of.heads_with(version.details, kept)
    if len(heads) == 1:
        return next(iter(heads.values()))
    label, key = T("models.head"), f"models-head-{kept}"
    chosen = st.segmented_control(label, list(heads), default=next(iter(heads)), required=True, key=key)
    return heads[str(chosen)]


def _calibration(version: Version) -> None:
    head = _head(version, "reliability")
    frame = pd.DataFrame(
        [(each["confidence"], each["accuracy"], each["rows"]) for each in head["reliability"]]
    )
    frame.columns = pd.Index(["said", "right", "count"])
    left, right = st.columns(SIDES, gap="medium")
    with left:
        chart = charts.calibration(frame, height=TALL, names=(T("models.said"), T("models.right")))
        charts.put(chart, key="models-calibration", alt_text=T("models.calibration_alt"))
    with right:
        show(tag("div", safe(T("models.calibration_note")), "tr-sub"))
        told = [(T(f"models.calibrated.{name}"), value) for name, value in of.calibration(head)]
        cells = [(safe(name), safe(value)) for name, value in told]
        if cells:
            show(table((T("models.figure"), T("models.score")), cells, right=(1,)))
        if isinstance(head.get("sets"), Mapping):
            show(tag("div", safe(T("models.sets_note")), "tr-sub"))


def _confusion(version: Version) -> None:
    head = _head(version, "confusion")
    labels, cells = of.confusion(head)
    names = (T("models.truth"), T("models.predicted"))
    left, right = st.columns(SIDES, gap="medium")
    with left:
        chart = charts.confusion(pd.DataFrame(cells), labels, height=TALL, names=names)
        charts.put(chart, key="models-confusion", alt_text=T("models.confusion_alt", n=len(labels)))
        if len(labels) < len(head["labels"]):
            show(
                tag(
                    "div",
                    safe(T("models.confusion_part", shown=len(labels), n=len(head["labels"]))),
                    "tr-sub",
                )
            )
    with right:
        wrong = of.mistakes(head)
        show(heading(T("models.mistakes"), T("models.mistakes_note") if wrong else ""))
        if not wrong:
            states.empty("mistakes")
            return
        rows = [
            (
                safe(one["truth"]),
                safe(one["predicted"]),
                safe(f"{one['count']:,}"),
                safe(f"{one['share']:.0%}"),
            )
            for one in wrong
        ]
        columns = (*names, T("models.rows"), T("models.share"))
        show(tag("div", table(columns, rows, right=(2, 3)), "tr-scroll"))


def _card(version: Version) -> None:
    text = version.details.get("card")
    if not isinstance(text, str):
        states.empty("card")
        return
    show(tag("div", card.html_of(text), "tr-scroll"))
    name = f"{version.details.get('of', version.ref)}.md"
    st.download_button(
        T("models.download"),
        text,
        file_name=name,
        mime="text/markdown",
        icon=":material/download:",
        key="card",
    )


# A tab: what it shows, and whether this version kept what it needs.
_CHARTS: dict[str, tuple[Callable[[Version], None], Callable[[Version], bool]]] = {
    "curves": (_curves, lambda version: bool(of.curves(version.details.get("curves", {})))),
    "calibration": (_calibration, lambda version: bool(of.heads_with(version.details, "reliability"))),
    "confusion": (_confusion, lambda version: bool(of.heads_with(version.details, "confusion"))),
}
