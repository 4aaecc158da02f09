"""The charts of all pages: Altair with one configuration of our own, light and dark."""

import tomllib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal

import altair as alt
import pandas as pd
import streamlit as st

FONT = "Inter, 'Noto Sans SC', 'Noto Sans CJK SC', 'PingFang SC', 'Microsoft YaHei', system-ui, sans-serif"
CLAMP = 4.0  # a z-score beyond it has the last colour
SMALL = 11


@cache
def tokens(mode: str) -> dict[str, Any]:
    """Return the theme's colours of `mode` (light or dark), as .streamlit/config.toml has them."""
    path = Path(__file__).parent / ".streamlit" / "config.toml"
    return dict(tomllib.loads(path.read_text("utf-8"))["theme"][mode])


def mode() -> str:
    """Return the look of this browser, light or dark."""
    return "dark" if st.context.theme.type == "dark" else "light"


def diverging(look: str) -> list[str]:
    """Return the colours from worse to better through the page's own neutral."""
    if look == "dark":
        return ["#F4716A", "#A63A38", "#232B39", "#24608F", "#5CB2EE"]
    return ["#A11D17", "#E8938B", "#EEF0F5", "#9CBFDF", "#2F6DA8"]


def dress(chart: alt.TopLevelMixin) -> Any:
    """Return `chart` in our configuration: no ticks, small labels, thin grid, no frame."""
    colours = tokens(mode())
    axis = {
        "labelFont": FONT,
        "labelFontSize": SMALL,
        "labelColor": colours["grayTextColor"],
        "titleFont": FONT,
        "titleFontSize": SMALL,
        "titleFontWeight": "normal",
        "titleColor": colours["grayTextColor"],
        "gridColor": colours["borderColor"],
        "domainColor": colours["borderColor"],
        "ticks": False,
        "domain": False,
        "labelPadding": 6,
    }
    legend = {k: v for k, v in axis.items() if k.startswith(("label", "title")) and k != "labelPadding"}
    return (
        chart.configure(
            background="transparent", font=FONT, padding={"left": 2, "right": 2, "top": 4, "bottom": 0}
        )
        .configure_view(strokeWidth=0)
        .configure_axis(**axis)
        .configure_legend(**legend)
        .configure_range(category=colours["chartCategoricalColors"])
    )


def put(chart: Any, *, key: str, alt_text: str, height: Literal["content", "stretch"] = "content") -> None:
    """Show a chart at the full width of its pane; `alt_text` says what it shows."""
    st.altair_chart(dress(chart), theme=None, width="stretch", height=height, key=key, alt=alt_text)


def _time_axis(span_hours: float) -> alt.Axis:
    form = "%H:%M" if span_hours <= 36 else "%d %b"
    return alt.Axis(format=form, grid=False, title=None, labelOverlap=True, tickCount=8, labelFlush=False)


def heat_map(
    rows: pd.DataFrame,
    order: Sequence[str],
    *,
    title: str,
    height: int | Literal["container"],
    span_hours: float,
    names: dict[str, str],
) -> Any:
    """Return topics x time. `rows` has topic, start, end (aware UTC), z, count,
    negative and expected (shares).

    A window without items has no row, so no cell. `order` lists topics from the top, the worst first.
    """
    frame = rows.assign(shown=rows["z"].clip(-CLAMP, CLAMP))
    scale = alt.Scale(
        domain=[-CLAMP, -CLAMP / 2, 0, CLAMP / 2, CLAMP],
        range=diverging(mode())[::-1],
        clamp=True,
        interpolate="rgb",
    )
    legend = alt.Legend(
        title=title, orient="right", gradientLength=150, gradientThickness=9, tickCount=5, offset=8
    )
    return (
        alt.Chart(frame, height=height)
        .mark_rect(stroke=tokens(mode())["backgroundColor"], strokeWidth=1)
        .encode(
            x=alt.X("start:T", axis=_time_axis(span_hours), scale=alt.Scale(type="utc")),
            x2="end:T",
            y=alt.Y(
                "topic:N",
                sort=list(order),
                title=None,
                axis=alt.Axis(labelLimit=170, grid=False, labelColor=tokens(mode())["textColor"]),
                scale=alt.Scale(paddingInner=0.04),
            ),
            color=alt.Color("shown:Q", scale=scale, legend=legend),
            tooltip=[
                alt.Tooltip("topic:N", title=names["topic"]),
                alt.Tooltip("start:T", title=names["time"], format="%d %b %H:%M"),
                alt.Tooltip("count:Q", title=names["count"]),
                alt.Tooltip("negative:Q", title=names["negative"], format=".0%"),
                alt.Tooltip("expected:Q", title=names["expected"], format=".0%"),
                alt.Tooltip("z:Q", title=names["z"], format="+.1f"),
            ],
        )
    )


def bars(rows: pd.DataFrame, *, height: int) -> Any:
    """Return horizontal bars of `name` and `value`, in the order given; negative ones are orange."""
    colours = tokens(mode())
    colour = alt.condition(
        alt.datum.value < 0,
        alt.value(colours["orangeColor"]),
        alt.value(colours["chartCategoricalColors"][0]),
    )
    base = alt.Chart(rows, height=height).encode(
        y=alt.Y(
            "name:N",
            sort=None,
            title=None,
            axis=alt.Axis(labelLimit=150, labelColor=colours["textColor"], grid=False),
        ),
        x=alt.X("value:Q", title=None, axis=alt.Axis(format="+.2f", tickCount=3)),
    )
    return base.mark_bar(size=11, cornerRadius=1).encode(
        color=colour, tooltip=["name:N", alt.Tooltip("value:Q", format="+.3f")]
    )


def lines(rows: pd.DataFrame, *, x: str, y: str, series: str, height: int, names: tuple[str, str]) -> Any:
    """Return one line a series over `x`, which begins at 0; at most six series, in order of first sight.

    `names` title the axes.
    """
    return (
        alt.Chart(rows, height=height)
        .mark_line(strokeWidth=1.8, point=alt.OverlayMarkDef(size=14, filled=True))
        .encode(
            x=alt.X(
                f"{x}:Q",
                title=names[0],
                axis=alt.Axis(grid=False, tickMinStep=1, tickCount=8, labelOverlap=True),
                scale=alt.Scale(zero=True, nice=False),
            ),
            y=alt.Y(f"{y}:Q", title=names[1], axis=alt.Axis(tickCount=4), scale=alt.Scale(zero=False)),
            color=alt.Color(f"{series}:N", sort=None, legend=alt.Legend(title=None, orient="top", offset=4)),
            tooltip=[f"{series}:N", f"{x}:Q", alt.Tooltip(f"{y}:Q", format=".4f")],
        )
    )


def calibration(rows: pd.DataFrame, *, height: int, names: tuple[str, str]) -> Any:
    """Return said confidence against the share that was right (`said`, `right`, and `count` rows as size)."""
    colours = tokens(mode())
    ideal = (
        alt.Chart(pd.DataFrame({"said": [0, 1], "right": [0, 1]}))
        .mark_line(strokeDash=[4, 4], color=colours["grayTextColor"], strokeWidth=1)
        .encode(x="said:Q", y="right:Q")
    )
    seen = (
        alt.Chart(rows)
        .mark_line(strokeWidth=1.8, color=colours["chartCategoricalColors"][0])
        .encode(
            x=alt.X(
                "said:Q",
                title=names[0],
                scale=alt.Scale(domain=[0, 1]),
                axis=alt.Axis(format="%", tickCount=5),
            ),
            y=alt.Y(
                "right:Q",
                title=names[1],
                scale=alt.Scale(domain=[0, 1]),
                axis=alt.Axis(format="%", tickCount=5),
            ),
            tooltip=[alt.Tooltip("said:Q", format=".0%"), alt.Tooltip("right:Q", format=".0%"), "count:Q"],
        )
    )
    dots = seen.mark_circle(opacity=1, color=colours["chartCategoricalColors"][0]).encode(
        size=alt.Size("count:Q", legend=None, scale=alt.Scale(range=[24, 240], zero=True))
    )
    return alt.layer(ideal, seen, dots, height=height)


def confusion(rows: pd.DataFrame, labels: Sequence[str], *, height: int, names: tuple[str, str]) -> Any:
    """Return truth x prediction (`truth`, `predicted`, `share` of the truth's row, `count`)."""
    colours = tokens(mode())
    scale = alt.Scale(
        domain=[0, 1], range=[colours["secondaryBackgroundColor"], colours["chartCategoricalColors"][0]]
    )
    base = alt.Chart(rows).encode(
        x=alt.X(
            "predicted:N",
            sort=list(labels),
            title=names[1],
            # Many names stand upright: slanted ones lie over each other.
            axis=alt.Axis(
                labelLimit=110,
                labelAngle=-90 if len(labels) > 8 else -40 if len(labels) > 4 else 0,
                grid=False,
            ),
        ),
        y=alt.Y("truth:N", sort=list(labels), title=names[0], axis=alt.Axis(labelLimit=130, grid=False)),
    )
    cells = base.mark_rect().encode(
        color=alt.Color("share:Q", scale=scale, legend=None),
        tooltip=["truth:N", "predicted:N", "count:Q", alt.Tooltip("share:Q", format=".0%")],
    )
    if len(labels) > 8:
        return cells.properties(height=height)
    on_dark = alt.value("#FFFFFF" if mode() == "light" else colours["backgroundColor"])
    words = base.mark_text(fontSize=SMALL).encode(
        text="count:Q", color=alt.condition(alt.datum.share > 0.5, on_dark, alt.value(colours["textColor"]))
    )
    return alt.layer(cells, words, height=height)
