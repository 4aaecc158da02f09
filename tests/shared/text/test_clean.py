import pytest

from shared.text.clean import front_matter, html, markdown, plain


def test_markdown_becomes_lines_that_can_be_quoted():
    page = markdown(
        "# How to *reset*\n\nHold the button for 10\nseconds.\n1. Open **the app**.\n"
        "2. Tap [here](http://x.y).\n\n"
        "- a\n- b ![img](http://evil/x.png)\n\n| Plan | Price |\n|---|---|\n| S | 5 |\n\n"
        "## More\nText & <b>x</b>."
    )
    assert page.title == "How to reset"
    assert page.text == (
        "Hold the button for 10 seconds.\n1. Open the app.\n2. Tap here.\n\n- a\n- b\n\n"
        "Plan | Price\nS | 5\n\nMore\n\nText & x."
    )


def test_loose_lists_keep_their_numbers():
    assert markdown("1. one\n\n2. two\n").text == "1. one\n2. two"


def test_html_drops_what_nobody_reads():
    page = html(
        "<html><head><title>Site</title><style>p{}</style></head><body><nav>Menu</nav><h1>Fees</h1>"
        "<script>alert(1)</script><p>Costs &pound;5<br>a month</p><div>Unclosed <b>bold</div>"
    )
    assert page == ("Fees", "Costs £5\na month\nUnclosed bold")
    assert html("<title>Only</title><p>x").title == "Only"
    assert html("no marks at all") == (None, "no marks at all")


def test_hostile_markup_stays_text():
    assert "<img" not in markdown("x <img src=http://evil onerror=1> y").text
    assert markdown("&lt;script&gt;").text == "<script>"


@pytest.mark.parametrize(
    "source, fields, rest",
    [
        ("---\ntitle: A: b\ngroups: [x, 'y']\n---\nBody", {"title": "A: b", "groups": ["x", "y"]}, "Body"),
        ("No header", {}, "No header"),
        ("---\nnot a header\n---\nBody", {}, "---\nnot a header\n---\nBody"),
    ],
)
def test_front_matter(source, fields, rest):
    assert front_matter(source) == (fields, rest)


def test_plain_joins_wrapped_lines_but_not_lists():
    long = "this line was wrapped by an editor at its seventy-second column or so"
    assert plain(f"a\tb\n{long}\nand goes on\n\n\n\n- x\n- y\x00") == f"a b\n{long} and goes on\n\n- x\n- y"


@pytest.mark.parametrize("text", ["", "  \n ", "\x00"])
def test_nothing_gives_nothing(text):
    assert plain(text) == ""
    assert markdown(text).text == ""
    assert html(text).text == ""
