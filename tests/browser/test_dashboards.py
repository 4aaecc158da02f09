"""The dashboards in Chromium, against fakes of their services: looks, safety, the ways through.

The demo's own browser test drives the real services; here every state can be had, hostile texts too.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect, sync_playwright

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # checks.py is shared by the browser tests, which are no package
from checks import (  # noqa: E402 it lies beside this file
    CHROMIUM,
    Watch,
    assert_page,
    chromium,
    fonts_used,
    layout_shifts,
    sign_in,
    wait_ready,
)

ROOT = HERE.parents[1]
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="needs Chromium: apt-get install chromium"),
]
FAKES = ROOT / "tests" / "dashboards" / "fake_services.py"
# In one script, since the page replaces the element every few seconds.
WIDTHS_OF_UPDATED = """times => {
    const shown = [...document.querySelectorAll("*")].find(
        e => e.children.length === 0 && /^Updated .* UTC$/.test(e.textContent) && e.getClientRects().length)
    return times.map(time => {
        shown.textContent = `Updated ${time} UTC`
        return shown.getBoundingClientRect().width
    })
}"""


def _line(running: subprocess.Popen[str], what: str) -> str:
    assert running.stdout is not None
    line = running.stdout.readline()
    assert line, f"{what} ended before it was ready"
    return line.strip()


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The dashboards' address, over fakes of the three services."""
    # A test's own variable is no setting of the program, which would refuse it.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("TRILLIUM_TEST_")}
    with subprocess.Popen([sys.executable, str(FAKES), "0"], stdout=subprocess.PIPE, text=True) as fakes:
        try:
            urls = _line(fakes, "the fakes").split()
            names = ("SUPPORT", "SENTIMENT", "RECOMMENDER")
            given = {f"TRILLIUM_{name}__URL": url for name, url in zip(names, urls, strict=True)}
            command = [sys.executable, "-W", "ignore", "-m", "pipelines.cli", "dashboard", "--port", "0"]
            with subprocess.Popen(
                command, cwd=ROOT, env={**inherited, **given}, stdout=subprocess.PIPE, text=True
            ) as server:
                yield _line(server, "the dashboards").rpartition(" ")[2]
                server.terminate()
        finally:  # whatever failed: what is left open would be waited for
            fakes.terminate()


@pytest.fixture(scope="module")
def contexts(address: str) -> Iterator[dict[str, BrowserContext]]:
    """One signed-in browser context a look."""
    with sync_playwright() as playwright, chromium(playwright) as browser:
        made = {}
        for look in ("light", "dark"):
            size = {"width": 1366, "height": 768}
            made[look] = browser.new_context(viewport=size, color_scheme=look)  # type: ignore[arg-type]
            page = made[look].new_page()
            sign_in(page, address, "robin", "trillium-demo")
            page.close()
        yield made


@pytest.fixture
def page(contexts: dict[str, BrowserContext]) -> Iterator[Page]:
    made = contexts["light"].new_page()
    yield made
    made.close()


def ask(page: Page, question: str) -> None:
    box = page.get_by_test_id("stChatInputTextArea")
    box.fill(question)
    box.press("Enter")
    expect(page.get_by_text(question, exact=True).first).to_be_visible()
    wait_ready(page)


@pytest.mark.parametrize("look", ["light", "dark"])
@pytest.mark.parametrize(
    ("name", "scroll"), [("", False), ("live", True), ("studio", False), ("models", False)]
)
def test_a_page_holds_its_promises(
    contexts: dict[str, BrowserContext], address: str, look: str, name: str, scroll: bool
) -> None:
    page = contexts[look].new_page()
    watch = Watch(page)
    page.goto(f"{address}/{name}")
    wait_ready(page)
    assert_page(page, watch, scroll=scroll)
    assert "Inter" in fonts_used(page)
    page.close()


def test_the_login_survives_a_reload_and_ends_with_sign_out(
    contexts: dict[str, BrowserContext], address: str
) -> None:
    browser = contexts["light"].browser
    assert browser is not None
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{address}/live")
    assert page.url == f"{address}/login"
    sign_in(page, address, "agent", "trillium-demo")
    page.reload()
    wait_ready(page)
    nav = page.get_by_test_id("stSidebarNavLink")
    assert [text.split()[-1] for text in nav.all_inner_texts()] == ["Chat", "Models"]
    assert "trillium_session" not in page.evaluate("document.cookie")
    page.get_by_test_id("stPopoverButton").click()
    page.get_by_role("link", name="Sign out").click()
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()
    context.close()


def test_the_chat_shows_the_cited_answer_and_hostile_text_as_text(page: Page, address: str) -> None:
    watch = Watch(page)
    page.goto(address)
    wait_ready(page)
    ask(page, "My card was declined abroad")
    expect(page.get_by_text("Card declined while travelling")).to_be_visible()
    ask(page, "hostile please")
    ask(page, "card")
    page.get_by_role("button", name="Order a new card").click()
    expect(page.locator(".tr-ask").last).to_contain_text("Order a new card")
    wait_ready(page)
    ask(page, "I want a lawyer")
    expect(page.get_by_text("A person takes over")).to_be_visible()
    assert_page(page, watch)


def test_the_desk_does_not_jump_and_keeps_what_is_open(page: Page, address: str) -> None:
    page.goto(f"{address}/live")
    wait_ready(page)
    page.get_by_test_id("stPopoverButton").click()
    before = page.get_by_text("Updated").inner_text()
    assert layout_shifts(page, 11_000) == []
    assert page.get_by_text("Updated").inner_text() != before
    narrow, wide = page.evaluate(WIDTHS_OF_UPDATED, ["11:11:11", "20:08:00"])
    assert narrow == wide > 0  # whatever the time, what stands beside it stays
    expect(page.get_by_role("link", name="Sign out")).to_be_visible()


def test_the_studio_moves_with_arrow_keys_and_runs_from_the_keyboard(page: Page, address: str) -> None:
    page.goto(f"{address}/studio")
    wait_ready(page)
    rows = page.get_by_role("option")
    rows.first.click()
    page.keyboard.press("ArrowDown")
    expect(rows.nth(1)).to_have_attribute("aria-selected", "true")
    wait_ready(page)
    chosen = rows.nth(1).locator(".title").inner_text()
    expect(page.locator(".st-key-card-why .tr-title")).to_have_text(chosen)
    page.get_by_test_id("stButtonGroup").get_by_text("Sentence").click()
    box = page.get_by_role("textbox", name="Sentence")
    box.fill("slow family drama")
    box.press("Control+Enter")
    expect(page.get_by_text("similar items").first).to_be_visible()


@pytest.mark.parametrize("look", ["light", "dark"])
def test_every_tab_of_the_models_page_holds_its_promises(
    contexts: dict[str, BrowserContext], address: str, look: str
) -> None:
    page = contexts[look].new_page()
    watch = Watch(page)
    page.goto(f"{address}/models")
    wait_ready(page)
    for view, count in (("Versions", 6), ("Runs", 3)):
        page.get_by_test_id("stButtonGroup").get_by_text(view, exact=True).click()
        wait_ready(page)
        found = page.get_by_test_id("stTab")
        assert found.count() == count
        for at in range(count):
            found.nth(at).click()
            wait_ready(page)
            assert_page(page, watch)
    page.close()


def test_live_moves_only_after_the_dialog(page: Page, address: str) -> None:
    page.goto(f"{address}/models")
    wait_ready(page)
    page.get_by_role("option").nth(2).click()  # support@5, which the gate refused
    wait_ready(page)
    expect(page.locator(".st-key-fill-bar-version .tr-line")).to_contain_text("macro F1 0.71 against 0.79")
    page.locator(".st-key-promote button").click()
    expect(page.get_by_text("Its gate refused it.")).to_be_visible()
    page.locator(".st-key-promote-yes button").click()
    expect(page.get_by_role("option").first).to_contain_text("support@5")
    page.locator(".st-key-roll-back button").click()
    page.locator(".st-key-roll-back-yes button").click()
    expect(page.get_by_role("option").first).to_contain_text("support@4")
