"""Our two browser components: a list to choose from, and buttons whose labels come from outside."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import streamlit as st

_HERE = Path(__file__).parent


@st.cache_resource(show_spinner=False)
def _component(name: str) -> Callable[..., Any]:
    # Registered once a process: a second registration of the same name warns.
    css, js = ((_HERE / f"{name}.{kind}").read_text("utf-8") for kind in ("css", "js"))
    root = "list" if name == "picklist" else name
    return st.components.v2.component(f"trillium_{name}", html=f'<div class="{root}"></div>', css=css, js=js)


def picklist(label: str, rows: Sequence[dict[str, Any]], *, key: str, picked: str | None) -> str | None:
    """Show rows to choose from and return the chosen id; before a choice it is `picked`.

    A row is `{id, title, rank?, tile?, sub?, score?, share?, side?, tone?}`: all but `share` (0 to 1) are
    shown as plain text. One tab stop; arrow keys, Home and End move the choice.
    """
    held = st.session_state.get(key)
    chosen = held.get("picked") if held else None
    if chosen not in {row["id"] for row in rows}:
        chosen = picked
    _component("picklist")(
        key=key,
        data={"label": label, "rows": list(rows), "picked": chosen},
        default={"picked": picked},
        on_picked_change=lambda: None,
    )
    return chosen


def chips(label: str, texts: Sequence[tuple[str, str]], *, key: str, disabled: bool = False) -> str | None:
    """Show buttons of (text, note) and return the text that was just pressed."""
    result = _component("chips")(
        key=key,
        data={"label": label, "chips": [{"text": t, "note": n} for t, n in texts], "disabled": disabled},
        on_chosen_change=lambda: None,
    )
    return result.chosen if result else None
