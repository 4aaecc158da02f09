"""The look: tokens that can be read, fonts that lie here, and nothing that loads from outside."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

import dashboards

HOME = Path(dashboards.__file__).parent
CONFIG = tomllib.loads((HOME / ".streamlit" / "config.toml").read_text("utf-8"))
TEXTS = (
    "textColor",
    "grayTextColor",
    "blueTextColor",
    "redTextColor",
    "orangeTextColor",
    "greenTextColor",
    "linkColor",
)
MARKS = ("redColor", "orangeColor", "greenColor", "blueColor")


def _light(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def contrast(one: str, other: str) -> float:
    high, low = sorted((_light(one), _light(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def _tints() -> dict[str, tuple[str, str]]:
    css = (HOME / "kit.css").read_text("utf-8")
    return {
        name: (light, dark)
        for name, light, dark in re.findall(r"--tr-([a-z-]+): light-dark\((#\w{6}), (#\w{6})\)", css)
    }


@pytest.mark.parametrize("mode", ["light", "dark"])
@pytest.mark.parametrize("token", TEXTS)
@pytest.mark.parametrize("ground", ["backgroundColor", "secondaryBackgroundColor"])
def test_texts_can_be_read(mode: str, token: str, ground: str) -> None:
    theme = CONFIG["theme"][mode]
    assert contrast(theme[token], theme[ground]) >= 4.5


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_marks_and_the_primary_button_can_be_seen(mode: str) -> None:
    theme = CONFIG["theme"][mode]
    assert contrast(theme["primaryColor"], "#FFFFFF") >= 4.5
    marks = [theme[token] for token in MARKS] + theme["chartCategoricalColors"]
    assert all(contrast(mark, theme["backgroundColor"]) >= 3 for mark in marks)
    assert len(theme["chartCategoricalColors"]) == 6


@pytest.mark.parametrize("place", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize("tone", ["red", "orange", "green", "blue"])
def test_a_badge_can_be_read_on_its_tint(place: int, tone: str) -> None:
    tints = _tints()
    assert contrast(tints[tone][place], tints[f"{tone}-tint"][place]) >= 4.5


@pytest.mark.parametrize(
    ("own", "token"),
    [
        ("muted", "grayTextColor"),
        ("text", "textColor"),
        ("page", "backgroundColor"),
        ("panel", "secondaryBackgroundColor"),
        ("line", "borderColor"),
        ("accent", "primaryColor"),
        ("red", "redTextColor"),
        ("orange", "orangeTextColor"),
        ("green", "greenTextColor"),
    ],
)
def test_the_style_sheet_has_the_theme_s_colours(own: str, token: str) -> None:
    assert _tints()[own] == (CONFIG["theme"]["light"][token], CONFIG["theme"]["dark"][token])


def test_fonts_lie_here_with_their_licences() -> None:
    for face in CONFIG["theme"]["fontFaces"]:
        assert (HOME / face["url"].removeprefix("app/")).is_file()
    assert {path.name for path in (HOME / "static").glob("*.LICENSE.txt")} == {
        "inter.LICENSE.txt",
        "jetbrains-mono.LICENSE.txt",
    }


def test_nothing_phones_home() -> None:
    assert CONFIG["browser"]["gatherUsageStats"] is False
    assert CONFIG["client"] == {"toolbarMode": "viewer", "showErrorDetails": "none", "showErrorLinks": False}
    for path in (p for p in HOME.rglob("*") if p.suffix in (".css", ".js", ".html", ".toml", ".svg")):
        links = re.findall(r"(?:https?:)?//[\w.-]+\.[a-z]{2,}[^\s\"')]*", path.read_text("utf-8"))
        assert [link for link in links if "www.w3.org" not in link] == [], path


def _calls(source: str) -> set[str]:
    names = {node.attr for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Attribute)}
    return names | {
        word.arg or ""
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        for word in node.keywords
    }


@pytest.mark.parametrize("path", sorted(HOME.rglob("*.py")), ids=lambda path: str(path.relative_to(HOME)))
def test_no_page_shows_outside_text_as_markdown_or_raw_html(path: Path) -> None:
    source = path.read_text("utf-8")
    assert not _calls(source) & {
        "unsafe_allow_html",
        "unsafe_allow_javascript",
        "markdown",
        "write",
        "caption",
        "write_stream",
    }
    assert ".innerHTML" not in source


@pytest.mark.parametrize("path", sorted(HOME.glob("*.js")), ids=lambda path: path.name)
def test_components_write_texts_only(path: Path) -> None:
    source = path.read_text("utf-8")
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", source)
