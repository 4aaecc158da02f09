"""All visible texts: one file a language in texts/, the same keys in each."""

import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import streamlit as st

FOLDER = Path(__file__).parent / "texts"
DEFAULT = "en"


def languages() -> list[str]:
    """Return the codes of the languages that have a file, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


@cache
def texts(language: str) -> dict[str, Any]:
    """Return every text of `language` by its dotted key; a text with forms is a dict (one, other)."""
    return dict(_flat(tomllib.loads((FOLDER / f"{language}.toml").read_text("utf-8"))))


def _flat(tree: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, value in tree.items():
        if isinstance(value, dict) and "other" not in value:
            found += _flat(value, f"{prefix}{name}.")
        else:
            found.append((f"{prefix}{name}", value))
    return found


def set_language(wanted: str | None) -> None:
    """Remember the language of this browser session; to be called before the first text is read."""
    st.session_state["language"] = wanted if wanted in languages() else DEFAULT


def say(language: str, key: str, **values: Any) -> str:
    """Return the text `key` in `language`; `n` picks the form "one" where there is one.

    Raises KeyError for an unknown key: a test reads every key that the code names.
    """
    text = texts(language)[key]
    if isinstance(text, dict):
        text = text["one"] if values.get("n") == 1 and "one" in text else text["other"]
    return str(text).format(**values)


def has(key: str) -> bool:
    """Whether there is a text `key`, for names that come from a service (a state, a kind, a label)."""
    return key in texts(st.session_state.get("language", DEFAULT))


def T(key: str, **values: Any) -> str:  # noqa: N802 one letter: it stands in every line of the pages
    """Return the text `key` in the language of this browser session."""
    return say(st.session_state.get("language", DEFAULT), key, **values)


def name_of(group: str, value: str) -> str:
    """Return the text of a service's own word (`group.value`), or the word as it came."""
    return T(f"{group}.{value}") if has(f"{group}.{value}") else value
