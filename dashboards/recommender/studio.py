"""Ask the recommender as a user, an item or a sentence would, and see why each item is there."""

from contextlib import suppress
from dataclasses import dataclass
from itertools import combinations
from time import perf_counter
from typing import Any

import pandas as pd
import streamlit as st

from dashboards import charts, connect, states
from dashboards.components import picklist
from dashboards.parts import badge, heading, metrics, safe, show, tag
from dashboards.wording import T, name_of
from services.recommender.client import RecommenderClient
from services.recommender.contract import ItemDetail, Recommendations, Recommended
from shared.errors import NotFound

WAYS = ("user", "item", "text")
SIZES = (10, 20, 50)
SUGGESTED = 100  # users and items offered in the box; any other can be typed
PARTS = 7
JUDGED = 20  # items at the top that the list's quality is taken from


@dataclass(frozen=True)
class Asked:
    """One query and its answer; `seen` are items of the user's history, `details` the items by id."""

    way: str
    query: str
    size: int
    slate: Recommendations
    seconds: float
    seen: frozenset[str]
    details: dict[str, ItemDetail]


def client() -> RecommenderClient:
    """Return the client of this session's person."""
    return connect.client(RecommenderClient, "recommender")


@st.cache_data(ttl=60, max_entries=20, show_spinner=False)
def _users(_client: RecommenderClient, person: str) -> list[str]:
    return [user.user_id for user in _client.users(limit=SUGGESTED).users]


@st.cache_data(ttl=60, max_entries=20, show_spinner=False)
def _items(_client: RecommenderClient, person: str) -> dict[str, str]:
    return {item.item_id: item.title for item in _client.items(limit=SUGGESTED).items}


@st.cache_data(ttl=120, max_entries=2_000, show_spinner=False)
def _detail(_client: RecommenderClient, person: str, item_id: str) -> ItemDetail | None:
    try:
        return _client.item(item_id)
    except NotFound:
        return None  # deleted since the answer


def ask(way: str, query: str, size: int) -> Asked:
    """Run one query; raises what the service answers."""
    api, who = client(), connect.person().name
    began = perf_counter()
    slate = api.recommendations(**{way: query}, k=size, explain=True)
    seconds = perf_counter() - began
    details = {
        item.item_id: found for item in slate.items[:JUDGED] if (found := _detail(api, who, item.item_id))
    }
    seen: frozenset[str] = frozenset()
    if way == "user":
        with suppress(NotFound):  # an unknown user has no history
            seen = frozenset(event.item_id for event in api.history(query, limit=100).events)
    return Asked(way, query, size, slate, seconds, seen, details)


def page() -> None:
    """Show the page."""
    with states.shown(T("studio.title")):
        wanted = _controls()
        _answer_to(wanted)
    asked: Asked | None = st.session_state.get("studio-asked")
    left, right = st.columns([72, 28], gap="small")
    with left:
        picked = _list_pane(asked)
    with right:
        _why_pane(asked, picked)
        _quality_pane(asked)


def _controls() -> tuple[str, str, int, bool]:
    way_box, query_box, size_box, run_box = st.columns(
        [2, 5.9, 1.45, 1.65], gap="small", vertical_alignment="bottom"
    )
    way = way_box.segmented_control(
        T("studio.ask_by"),
        WAYS,
        default="user",
        required=True,
        format_func=lambda w: T(f"studio.by.{w}"),
        key="studio-way",
    )
    with query_box:
        query = _query_box(str(way))
    size = size_box.segmented_control(
        T("studio.length"), SIZES, default=SIZES[0], required=True, key="studio-size"
    )
    pressed = run_box.button(
        T("studio.run"), type="primary", shortcut="Mod+Enter", width="stretch", key="studio-run"
    )
    return str(way), (query or "").strip(), int(size or SIZES[0]), pressed


def _query_box(way: str) -> str | None:
    api, who = client(), connect.person().name
    if way == "text":
        return st.text_input(
            T("studio.by.text"),
            placeholder=T("studio.text_hint"),
            max_chars=1_000,
            icon=":material/search:",
            key="studio-text",
        )
    if way == "item":
        titles = _items(api, who)
        return st.selectbox(
            T("studio.by.item"),
            list(titles),
            format_func=lambda i: f"{titles[i]} · {i}" if i in titles else i,
            accept_new_options=True,
            placeholder=T("studio.item_hint"),
            key="studio-item",
        )
    return st.selectbox(
        T("studio.by.user"),
        _users(api, who),
        accept_new_options=True,
        placeholder=T("studio.user_hint"),
        key="studio-user",
    )


def _answer_to(wanted: tuple[str, str, int, bool]) -> None:
    way, query, size, pressed = wanted
    held: Asked | None = st.session_state.get("studio-asked")
    if not query:
        if held is not None and held.way != way:
            del st.session_state["studio-asked"]
        return
    if held is None or pressed or (held.way, held.query, held.size) != (way, query, size):
        st.session_state.pop("studio-asked", None)
        st.session_state["studio-asked"] = ask(way, query, size)


def _share(item: Recommended, slate: Recommendations) -> float:
    top, low = slate.items[0].score, min(0.0, *(i.score for i in slate.items))
    return (item.score - low) / (top - low) if top > low else 1.0


def _rows(asked: Asked) -> list[dict[str, Any]]:
    return [
        {
            "id": item.item_id,
            "rank": item.rank,
            "tile": (item.title or item.item_id)[:2],
            "title": item.title or item.item_id,
            "sub": item.reasons[0].text if item.reasons else T("studio.no_reason"),
            "score": f"{item.score:.3f}",
            "share": _share(item, asked.slate),
            "side": name_of("source", item.source),
        }
        for item in asked.slate.items
    ]


def _list_pane(asked: Asked | None) -> str | None:
    with st.container(key="fill-rest-list", height=600, border=True, gap="small"):
        if asked is None:
            show(heading(T("studio.list")))
            states.empty("slate")
            return None
        note = T("studio.served", n=len(asked.slate.items), ms=f"{asked.seconds * 1000:,.0f}")
        tone = "green" if asked.slate.served_by == "personal" else "gray"
        right = (badge(name_of("served", asked.slate.served_by), tone),)
        show(heading(asked.slate.model or T("studio.no_model"), note, *right))
        if not asked.slate.items:
            states.empty("no_items")
            return None
        with st.container(height="stretch", border=False, key="scroll-slate"):
            first = asked.slate.items[0].item_id
            return picklist(T("studio.list"), _rows(asked), key=f"slate-{asked.slate.slate_id}", picked=first)


def _why_pane(asked: Asked | None, picked: str | None) -> None:
    with st.container(border=True, key="card-why", gap="xsmall"):
        item = next((i for i in asked.slate.items if i.item_id == picked), None) if asked else None
        if asked is None or item is None:
            show(heading(T("studio.why")))
            states.empty("item")
            return
        detail = asked.details.get(item.item_id) or _detail(client(), connect.person().name, item.item_id)
        known = [", ".join(detail.tags[:4])] if detail and detail.tags else []
        facts = tag("div", safe(" · ".join([*known, T("studio.item_id", id=item.item_id)])), "tr-sub")
        show(heading(item.title or item.item_id), facts)
        reasons = "".join(tag("div", safe(reason.text), "tr-reason") for reason in item.reasons)
        show(reasons or tag("div", safe(T("studio.no_reason")), "tr-sub"))
        if item.parts:
            _parts_chart(item.parts)


def _parts_chart(parts: dict[str, float]) -> None:
    largest = sorted(parts.items(), key=lambda part: -abs(part[1]))[:PARTS]
    frame = pd.DataFrame(
        [(name_of("part", name), value) for name, value in largest], columns=["name", "value"]
    )
    text = T(
        "studio.parts_alt",
        parts="; ".join(f"{name} {value:+.3f}" for name, value in frame.itertuples(index=False)),
    )
    charts.put(charts.bars(frame, height=26 * len(frame) + 24), key="studio-parts", alt_text=text)


def variety(tags: list[frozenset[str]]) -> float | None:
    """Return the mean Jaccard distance of all pairs of tag sets, 0 (all alike) to 1; None below two."""
    pairs = [(a, b) for a, b in combinations(tags, 2) if a | b]
    return sum(1 - len(a & b) / len(a | b) for a, b in pairs) / len(pairs) if pairs else None


def _quality_pane(asked: Asked | None) -> None:
    with st.container(border=True, key="card-quality", gap="xsmall"):
        top = asked.slate.items[:JUDGED] if asked else []
        show(heading(T("studio.quality"), T("studio.of", n=len(top)) if top else ""))
        if asked is None or not top:
            show(tag("div", safe(T("studio.quality_none")), "tr-sub"))
            return
        spread = variety([frozenset(d.tags) for d in asked.details.values()])
        repeats = sum(item.item_id in asked.seen for item in top)
        fresh = sum(detail.events == 0 for detail in asked.details.values())
        sources = len({item.source for item in top})
        show(
            metrics(
                [
                    (
                        T("studio.variety"),
                        "–" if spread is None else f"{spread:.2f}",
                        T("studio.variety_note"),
                    ),
                    (T("studio.sources"), str(sources), T("studio.sources_note")),
                    (T("studio.new"), str(fresh), T("studio.new_note")),
                    (
                        T("studio.repeats"),
                        str(repeats) if asked.way == "user" else "–",
                        T("studio.repeats_note"),
                    ),
                ]
            )
        )
