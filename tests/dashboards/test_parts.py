"""Outside text stays text in every piece of HTML that the pages are made of."""

import html.parser

import pytest

from dashboards import parts

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "![x](http://evil.example/p.png)",
    "' onmouseover='alert(1)",
    "</div><b>[1]</b>",
    "贝尔蒙特 & <i>",
]


class _Seen(html.parser.HTMLParser):
    """Collects tags, attributes and the text between them."""

    def __init__(self, body: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(body)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_shown_as_it_came(text: str) -> None:
    made = [
        parts.badge(text, "red", "▲"),
        parts.heading(text, text),
        parts.page_title(text, text),
        parts.facts([(text, text)]),
        parts.metrics([(text, text, text)]),
        parts.table([text], [[parts.safe(text)]]),
        parts.tag("div", parts.safe(text), title=text),
        parts.with_marks(text, 9),
    ]
    for body in made:
        seen = _Seen(body)
        assert seen.tags <= {"div", "span", "h1", "table", "thead", "tbody", "tr", "th", "td"}
        assert seen.attributes <= {"class", "title"}
        assert text in seen.text


def test_marks_are_cut_from_the_raw_text() -> None:
    body = parts.with_marks("a [1] <b> [2][7] [x]", known=2)
    assert body == 'a <span class="tr-cite">[1]</span> &lt;b&gt; <span class="tr-cite">[2]</span>[7] [x]'


@pytest.mark.parametrize(("share", "width"), [(-1, "0%"), (0.5, "50%"), (7, "100%")])
def test_a_bar_stays_in_its_place(share: float, width: str) -> None:
    assert f"width:{width}" in parts.bar(share)
