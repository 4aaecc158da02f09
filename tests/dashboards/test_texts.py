"""Every visible text stands in texts/: none in code, none missing or left over, the same in each language."""

import ast
import re
import string
from collections.abc import Iterator
from pathlib import Path

import pytest

from dashboards import wording

HOME = Path(wording.__file__).parent
FILES = {path.name for path in HOME.iterdir()}
MODULES = sorted(HOME.rglob("*.py"))
# Texts found by a name that a service sends (`name_of`), or by the name of an empty state.
BY_NAME = (
    "empty",
    "severity",
    "arrived",
    "shift",
    "alert_state",
    "series",
    "feeling",
    "feed_state",
    "served",
    "source",
    "part",
    "handoff",
    "role",
    "slot",
    "figure",
    "curve",
    "app_name",
    "section",
    "page",
    "login",
)
# Strings that are no text: log messages for operators and errors for callers, which are English by rule.
SPOKEN_TO_MACHINES = {"warning", "info", "error", "debug", "Unauthenticated", "Unavailable"}
# A symbol, a unit or a name of the field that is the same in every language.
SAME_EVERYWHERE = {"z", "UTC"}
SHOWING = {
    "button",
    "text",
    "title",
    "header",
    "caption",
    "text_input",
    "selectbox",
    "segmented_control",
    "popover",
    "chat_input",
    "badge",
    "heading",
    "page_title",
    "Page",
    "toast",
    "info",
    "success",
}


def _docstrings(tree: ast.AST) -> set[int]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                found.add(id(first.value))
    return found


def _called(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def _text(node: ast.expr) -> str | None:
    """What a string says, an expression inside it as 0; None for what is no string."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "0" for part in node.values)
    return None


def _spared(tree: ast.AST) -> set[int]:
    """Nodes below a call that speaks to machines, and parts of f-strings (the whole is looked at instead)."""
    found: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            found |= {id(part) for part in node.values}
        if (
            isinstance(node, ast.Call)
            and _called(node) in SPOKEN_TO_MACHINES
            and isinstance(node.func, ast.Attribute | ast.Name)
        ):
            receiver = node.func.value if isinstance(node.func, ast.Attribute) else None
            if receiver is None or getattr(receiver, "id", "") == "log":
                found |= {id(inner) for inner in ast.walk(node)}
    return found


def human_texts(source: str) -> Iterator[tuple[int, str]]:
    """Yield (line, text) of each literal in `source` that a person would read."""
    tree = ast.parse(source)
    skip = _docstrings(tree) | _spared(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.expr) and id(node) not in skip and (said := _text(node)) is not None:
            bare = re.sub(r"<[^>]*>", " ", said)
            words = re.search(r"[A-Za-z]{2,}[,.!?:]? +[A-Za-z]{2,}", bare)
            if words and not _is_code(bare):
                yield node.lineno, said
        if isinstance(node, ast.Call) and _called(node) in SHOWING and node.args:
            first = _text(node.args[0])
            if (
                first
                and re.search(r"[A-Za-z]", re.sub(r":material/\w+:", "", first))
                and first not in SAME_EVERYWHERE
            ):
                yield node.lineno, first


def _is_code(text: str) -> bool:
    """A font stack, a CSP, a header: words of a language that no person reads on a page."""
    return bool(re.search(r"'self'|sans-serif|=\(\)|'none'|^tr-|\btr-", text))


def test_no_text_stands_in_code() -> None:
    found = [
        f"{path.relative_to(HOME)}:{line}: {text!r}"
        for path in MODULES
        for line, text in human_texts(path.read_text("utf-8"))
    ]
    assert not found, "put these into texts/en.toml:\n" + "\n".join(found)


@pytest.mark.parametrize(
    "source",
    [
        'st.button("Send")',
        'st.text_input("Your name", key="n")',
        "show(f'<b>{n} new items</b>')",
        'x = "Nothing is here"',
    ],
)
def test_the_search_finds_a_text(source: str) -> None:
    assert list(human_texts(source))


@pytest.mark.parametrize(
    "source",
    ['st.button(T("a.b"), icon=":material/undo:")', '"""A docstring of words."""', 'tag("div", x, "tr-a")'],
)
def test_the_search_spares_what_is_no_text(source: str) -> None:
    assert not list(human_texts(source))


def _asked() -> tuple[set[str], set[str]]:
    """Keys that the code names: whole ones, and the beginnings of those with a part in braces."""
    whole, begun = set(), set()
    for path in MODULES:
        tree = ast.parse(path.read_text("utf-8"))
        inner = {
            id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values
        }
        for node in ast.walk(tree):
            if id(node) in inner:
                continue
            said = _text(node) if isinstance(node, ast.expr) else None
            if (
                said
                and isinstance(node, ast.Constant)
                and said not in FILES
                and re.fullmatch(r"[a-z_]+(\.[a-z0-9_]+)+", said)
            ):
                whole.add(said)
            if (
                said
                and isinstance(node, ast.JoinedStr)
                and isinstance(node.values[0], ast.Constant)
                and re.match(r"[a-z_]+\.", said)
            ):
                begun.add(str(node.values[0].value))  # type: ignore[attr-defined]
    return whole, begun


def test_every_key_that_the_code_names_is_there() -> None:
    known, (whole, begun) = set(wording.texts("en")), _asked()
    sections = {key.partition(".")[0] for key in known}
    asked = {key for key in whole if key.partition(".")[0] in sections}
    assert not asked - known
    assert all(
        any(key.startswith(start) for key in known) for start in begun if start.partition(".")[0] in sections
    )


def test_no_text_is_left_over() -> None:
    whole, begun = _asked()
    unused = {
        key
        for key in wording.texts("en")
        if key not in whole
        and not key.startswith(BY_NAME)
        and not any(key.startswith(start) for start in begun)
    }
    assert not unused


def _fields(text: str | dict[str, str]) -> set[str]:
    forms = [text["other"]] if isinstance(text, dict) else [text]
    return {name for form in forms for _, name, _, _ in string.Formatter().parse(form) if name}


@pytest.mark.parametrize("language", wording.languages())
def test_a_language_has_the_same_keys_and_places(language: str) -> None:
    english, other = wording.texts("en"), wording.texts(language)
    assert set(english) == set(other)
    assert {key: _fields(english[key]) for key in english} == {key: _fields(other[key]) for key in other}


def test_forms_follow_the_number() -> None:
    assert wording.say("en", "chat.turns", n=1) == "1 question"
    assert wording.say("en", "chat.turns", n=3) == "3 questions"
