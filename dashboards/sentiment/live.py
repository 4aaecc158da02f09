"""The risk desk at a glance: what needs action first, then topics over time, feeds and headlines."""

import pandas as pd
import streamlit as st

from dashboards import charts, connect, states
from dashboards.parts import badge, heading, page_title, safe, show, table, tag
from dashboards.sentiment.board import EVERYTHING, Board, fetch, surprise
from dashboards.wording import T, name_of
from services.sentiment.client import SentimentClient
from services.sentiment.contract import Alert, Item
from shared.errors import TrilliumError

RANGES = {"6h": 6, "24h": 24, "7d": 168}
EVERY_S = 5
CARDS = 3
SEVERITY = {"high": "red", "medium": "orange", "low": "gray"}
DOTS = {"live": "ok", "quiet": "late"}
FEEDS = 5
FEELING = {"negative": ("red", "▼"), "neutral": ("gray", "■"), "positive": ("green", "▲")}


def page() -> None:
    """Show the page; it asks the service again every five seconds unless it is paused."""
    paused = st.session_state.get("live-paused", False)
    st.fragment(_desk, run_every=None if paused else EVERY_S)()


def _desk() -> None:
    hours = RANGES[st.session_state.get("live-range") or "24h"]
    board, problem = _fetch(hours)
    _bar(board)
    if problem is not None and board is not None:
        states.offline(board.at)
    elif problem is not None:
        with states.shown(T("live.title")):
            raise problem
    if board is None:
        return
    if board.health.worker == "stopped":
        states.stale(T("live.worker_stopped"))
    _alerts(board)
    left, right = st.columns([59, 41], gap="small")
    with left:
        _heat_pane(board)
    with right:
        _topics_pane(board)
        _feeds_pane(board)
    _headlines(board)


# A look takes a dozen calls: the tabs of one person share it, to stay below the services' limits.
@st.cache_data(ttl=EVERY_S - 1, max_entries=100, show_spinner=False)
def _look(_api: SentimentClient, person: str, hours: int) -> Board:
    return fetch(_api, hours)


def _fetch(hours: int) -> tuple[Board | None, TrilliumError | None]:
    """Return a fresh board, or the last good one of this range with what went wrong."""
    try:
        board = _look(connect.client(SentimentClient, "sentiment"), connect.person().name, hours)
    except TrilliumError as problem:
        held: Board | None = st.session_state.get("live-board")
        return (held if held is not None and held.hours == hours else None), problem
    st.session_state["live-board"] = board
    return board, None


def _bar(board: Board | None) -> None:
    title_box, control_box = st.columns([1, 1], gap="small", vertical_alignment="center")
    with title_box:
        note = _clock(board) if board else ""
        show(
            page_title(
                T("live.open", n=sum(alert.state != "resolved" for alert in board.alerts))
                if board
                else T("live.title"),
                note,
            )
        )
    with (
        control_box,
        st.container(
            horizontal=True,
            wrap=False,
            horizontal_alignment="right",
            vertical_alignment="center",
            gap="xsmall",
            key="live-bar",
        ),
    ):
        if board:
            show(
                tag("div", safe(T("live.updated", time=f"{board.at:%H:%M:%S}")), "tr-facts"), width="content"
            )
        st.segmented_control(
            T("live.range"),
            list(RANGES),
            default="24h",
            required=True,
            format_func=lambda r: T(f"live.range_{r}"),
            label_visibility="collapsed",
            key="live-range",
        )
        paused = st.session_state.get("live-paused", False)
        icon, label = (
            (":material/play_arrow:", T("live.go_on")) if paused else (":material/pause:", T("live.pause"))
        )
        if st.button(label, icon=icon, shortcut="P", key="live-pause"):
            st.session_state["live-paused"] = not paused
            st.rerun()


def _clock(board: Board) -> str:
    return T("live.replay" if board.replay else "live.now", time=f"{board.now:%d %b %Y %H:%M}")


def _alerts(board: Board) -> None:
    if not board.alerts and not any(row.now is not None for row in board.rows):
        return  # nothing is judged yet: to call that calm would be a claim
    if not board.alerts:
        calm = badge(T("live.calm"), "green", "✓") + tag("span", safe(T("live.calm_why")), "tr-sub")
        with st.container(border=True, key="card-calm"):
            show(tag("div", calm, "tr-calm"))
        return
    for column, alert in zip(st.columns(CARDS, gap="small"), board.alerts[:CARDS], strict=False):
        with column, st.container(border=True, key=f"card-alert-{alert.id}"):
            show(_card(alert, board))
    if len(board.alerts) > CARDS:
        show(tag("div", safe(T("live.more", n=len(board.alerts) - CARDS)), "tr-sub"))


def _card(alert: Alert, board: Board) -> str:
    resolved = alert.state == "resolved"
    tone = "gray" if resolved else SEVERITY[alert.severity]
    minutes = max(0, int(((alert.resolved or board.now) - alert.opened).total_seconds() // 60))
    since = T("live.since", time=f"{alert.opened:%d %b %H:%M}", length=_length(minutes))
    top = tag(
        "span", badge(name_of("severity", alert.severity), tone, "▲") + tag("span", safe(since), "tr-note")
    )
    state = badge(name_of("alert_state", alert.state), "gray" if alert.state == "open" else "green")
    name = T("live.surge", name=topic(alert.series))
    why = alert.why
    numbers = T(
        "live.why",
        negative=why.negative,
        n=why.count,
        expected=f"{why.expected:.1f}",
        share=f"{why.share:.0%}",
    )
    return (
        tag("div", top + state, "tr-card-top")
        + tag("div", safe(name), "tr-card-name", title=name)
        + tag("div", safe(numbers), "tr-sub", "tr-clip", title=why.text)
    )


def _length(minutes: int) -> str:
    if minutes < 60:
        return T("live.minutes", n=minutes)
    if minutes < 48 * 60:
        return T("live.hours", h=minutes // 60, m=minutes % 60)
    return T("live.days", n=minutes // 1440)


def topic(series: str) -> str:
    """Return a series' name for people: the text of `series.<name>`, else its own words."""
    plain = series.rpartition(":")[2]
    known = name_of("series", plain)
    words = plain.replace("_", " ").replace("-", " ")
    return known if known != plain else words[:1].upper() + words[1:]


def _heat_pane(board: Board) -> None:
    with st.container(key="fill-board-heat", height=560, border=True, gap="xsmall"):
        show(heading(T("live.by_topic"), T("live.by_topic_note")))
        rows = [row for row in board.rows if not row.learning]
        cells = [
            (
                topic(row.series),
                c.start,
                c.end,
                surprise([c]),
                c.count,
                c.negative / c.count,
                (c.expected or 0) / c.count,
            )
            for row in rows
            for c in row.cells
            if c.expected is not None
        ]
        if not cells:
            states.empty("series")
            return
        frame = pd.DataFrame(cells, columns=["topic", "start", "end", "z", "count", "negative", "expected"])
        names = {
            name: T(f"live.tip_{name}") for name in ("topic", "time", "count", "negative", "expected", "z")
        }
        chart = charts.heat_map(
            frame,
            [topic(row.series) for row in rows],
            title="z",
            height="container",
            span_hours=board.hours,
            names=names,
        )
        worst = topic(rows[0].series)
        charts.put(
            chart, key="live-heat", alt_text=T("live.heat_alt", n=len(rows), worst=worst), height="stretch"
        )
        show(tag("div", safe(T("live.heat_note")), "tr-sub"))


def _topics_pane(board: Board) -> None:
    with st.container(border=True, key="card-topics", gap="xsmall"):
        show(heading(T("live.topics"), T("live.worst_first")))
        if not board.rows:
            states.empty("series")
            return
        frame = pd.DataFrame(
            {
                "topic": [topic(row.series) for row in board.rows],
                "share": [[c.negative / c.count for c in row.cells] for row in board.rows],
                "negative": [100 * (row.share or 0.0) for row in board.rows],
                "count": [row.count for row in board.rows],
                "z": [None if row.learning else row.now for row in board.rows],
            }
        )
        columns = st.column_config
        config = {
            "topic": columns.TextColumn(T("live.topic"), width=128),
            "share": columns.LineChartColumn(T("live.trend"), width=92, y_min=0, y_max=1, color="gray"),
            "negative": columns.NumberColumn(T("live.negative"), width=74, format="%.0f%%"),
            "count": columns.NumberColumn(T("live.items"), width=58, format="localized"),
            "z": columns.NumberColumn("z", width=52, format="%+.1f"),
        }
        st.dataframe(
            frame,
            hide_index=True,
            row_height=29,
            height="content",
            column_config=config,
            key="live-topics",
            placeholder=T("live.learning"),
            alt=T("live.topics_alt", n=len(board.rows)),
        )


def _feeds_pane(board: Board) -> None:
    health = board.health
    with st.container(border=True, key="card-feeds", gap="xsmall"):
        show(
            heading(
                T("live.feeds"),
                T("live.feeds_note", late=f"{health.late:,}", dead=f"{health.dead_letters:,}"),
            )
        )
        if not health.feeds:
            states.empty("feeds")
            return
        rows = [
            (
                safe(feed.source),
                f'<span class="tr-dot {DOTS[feed.state]}"></span>{safe(name_of("feed_state", feed.state))}',
                safe(f"{feed.count:,}"),
                safe(_length(int(feed.lag_s // 60))),
                safe(f"{feed.last:%H:%M:%S}"),
            )
            for feed in health.feeds[:FEEDS]
        ]
        head = (T("live.feed"), T("live.state"), T("live.items"), T("live.lag"), T("live.last"))
        show(table(head, rows, right=(2, 3, 4)))
        if len(health.feeds) > FEEDS:
            show(tag("div", safe(T("live.more_feeds", n=len(health.feeds) - FEEDS)), "tr-sub"))


def _headlines(board: Board) -> None:
    with st.container(border=True, key="card-headlines", gap="xsmall"):
        show(heading(T("live.headlines"), T("live.headlines_note", n=len(board.items))))
        if not board.items:
            states.empty("headlines")
            return
        head = (T("live.time"), T("live.source"), T("live.headline"), T("live.topic"), T("live.feeling"))
        show(table(head, [_headline(item) for item in board.items], right=(4,)))


def _headline(item: Item) -> tuple[str, ...]:
    label = item.sentiment.label
    tone, sign = FEELING[label]
    words = f"{name_of('feeling', label)} {item.sentiment.probabilities[label]:.0%}"
    topics = ", ".join(topic(name) for name in item.topics if name != EVERYTHING)
    return (
        tag("span", safe(f"{item.ts:%H:%M}"), "tr-soft"),
        tag("span", safe(item.source), "tr-soft"),
        safe(item.title),
        tag("span", safe(topics), "tr-soft"),
        badge(words, tone, sign),
    )
