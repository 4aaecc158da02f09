"""Training runs side by side: figures with intervals, curves over each other, where the recipes differ."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from dashboards import states
from dashboards.models import runs as of
from dashboards.models.about import lines
from dashboards.models.runs import Figure, Run
from dashboards.parts import badge, heading, safe, show, table, tag
from dashboards.wording import T, name_of

MOST = 4  # runs beside each other; more columns can not be read


def row(run: Run) -> dict[str, Any]:
    """Return the run as a row of the list: its method and, at the side, the figure that leads."""
    parts = [f"{run.created:%d %b %Y %H:%M}", run.method]
    if run.seconds is not None:
        parts.append(T("models.took", s=f"{run.seconds:,.0f}"))
    figures = of.shared_figures([run])
    side = f"{run.figures[figures[0]].value:.3f}" if figures else ""
    return {
        "id": run.ref,
        "title": run.ref,
        "sub": " · ".join(p for p in parts if p),
        "side": side,
        "tone": "",
    }


def pane(chosen: Run | None, every: Sequence[Run]) -> None:
    """Show the chosen run beside others of the list."""
    with st.container(key="fill-bar-run", height=600, border=True, gap="small"):
        if chosen is None:
            show(heading(T("models.run")))
            states.empty("run")
            return
        used = [badge(T("models.used_by", ref=ref), "blue") for ref in chosen.bundles[:2]]
        show(heading(chosen.ref, T("models.compared_runs"), *used))
        shown = [chosen, *_others(chosen, every)]
        bodies = {"figures": _figures, "curves": _curves, "recipe": _recipe}
        for tab, body in zip(
            st.tabs([T(f"models.tab.{name}") for name in bodies]), bodies.values(), strict=True
        ):
            with tab:
                body(shown)


def _others(chosen: Run, every: Sequence[Run]) -> list[Run]:
    there = {run.ref: run for run in every if run.ref != chosen.ref}
    older = [ref for ref, run in there.items() if run.kind == chosen.kind and run.created <= chosen.created]
    picked = st.multiselect(
        T("models.compare_with"),
        list(there),
        default=older[:1],
        max_selections=MOST - 1,
        placeholder=T("models.compare_hint"),
        key=f"compare-{chosen.ref}",
    )
    return [there[ref] for ref in picked]


def _columns(shown: Sequence[Run]) -> list[str]:
    return [T("models.this_run"), *(run.ref for run in shown[1:])]


def _figures(shown: Sequence[Run]) -> None:
    keys = of.shared_figures(shown)
    if not keys:
        states.empty("run_figures")
        return
    several = len({head for _, head, _ in keys if head}) > 1
    for where in dict.fromkeys(where for where, _, _ in keys):
        rows = []
        for key in (one for one in keys if one[0] == where):
            values = [run.figures.get(key) for run in shown]
            lead = of.best(key[2], values)
            name = name_of("figure", key[2])
            title = f"{key[1]} · {name}" if several and key[1] else name
            scale = _scale(values)
            cells = [_cell(value, scale, lead == i) for i, value in enumerate(values)]
            rows.append((safe(title), *cells))
        show(tag("div", table([T(f"models.on_{where}"), *_columns(shown)], rows), "tr-even"))
    show(tag("div", safe(T("models.interval_note")), "tr-sub"))


def _scale(values: Sequence[Figure | None]) -> tuple[float, float]:
    ends = [end for one in values if one for end in (one.value, one.low, one.high) if end is not None]
    low, high = min(ends), max(ends)
    room = (high - low) * 0.06 or 0.01
    return low - room, high + room


def _cell(figure: Figure | None, scale: tuple[float, float], lead: bool) -> str:
    if figure is None:
        return tag("span", "–", "tr-soft")
    value = tag("b" if lead else "span", safe(f"{figure.value:,.4g}"), "tr-figure")
    if figure.low is None or figure.high is None:
        return value
    left, width = scale[0], scale[1] - scale[0]
    start, end, at = ((x - left) / width * 100 for x in (figure.low, figure.high, figure.value))
    said = T("models.interval", low=f"{figure.low:,.4g}", high=f"{figure.high:,.4g}")
    drawn = (
        f'<i style="left:{start:.1f}%;width:{max(end - start, 0.5):.1f}%"></i><u style="left:{at:.1f}%"></u>'
    )
    return (
        value + tag("span", safe(said), "tr-soft", "tr-between") + tag("span", drawn, "tr-range", title=said)
    )


def _curves(shown: Sequence[Run]) -> None:
    losses, scores = of.progress(shown)
    if not losses and not scores:
        states.empty("run_curves")
        return
    for kind, rows in (("loss", losses), ("score", scores)):
        if rows:
            lines(pd.DataFrame(rows), f"runs_{kind}", key=f"runs-{kind}")


def _recipe(shown: Sequence[Run]) -> None:
    if len(shown) == 1:
        _settings(shown[0].recipe)
        return
    apart, same = of.differences(shown)
    if apart:
        rows = [(safe(name), *(safe(value) or "–" for value in values)) for name, values in apart]
        show(tag("div", table([T("models.field"), *_columns(shown)], rows), "tr-even"))
    else:
        states.empty("differences")
    show(tag("div", safe(T("models.same_fields", n=same)), "tr-sub"))


def _settings(recipe: Mapping[str, Any]) -> None:
    rows = [(safe(name), safe(value)) for name, value in of.fields(recipe).items()]
    if rows:
        show(tag("div", table((T("models.field"), T("models.score")), rows), "tr-scroll"))
    else:
        states.empty("recipe")
