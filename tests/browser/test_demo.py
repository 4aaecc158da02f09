"""The demo in a browser: sign in, reload, ask, see the surge, query recommendations, look at the models."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect, sync_playwright

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # checks.py is shared by the browser tests, which are no package
from checks import CHROMIUM, Watch, assert_page, chromium, sign_in, wait_ready  # noqa: E402 it lies beside

pytestmark = [
    pytest.mark.browser,
    pytest.mark.flow,
    pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="needs Chromium: apt-get install chromium"),
]
PICTURES = HERE.parents[1] / "var" / "pictures"


@pytest.fixture(scope="module")
def page(running_demo: Any) -> Iterator[Page]:
    with sync_playwright() as playwright, chromium(playwright) as browser:
        context = browser.new_context(viewport={"width": 1366, "height": 768}, color_scheme="light")
        one = context.new_page()
        one.watch = Watch(one)  # type: ignore[attr-defined]
        sign_in(one, running_demo.address, running_demo.person, running_demo.password)
        yield one


def _keep(page: Page, name: str) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=PICTURES / f"{name}.png")


def test_the_login_survives_a_reload(page: Page) -> None:
    page.reload()
    wait_ready(page)
    expect(page.get_by_test_id("stChatInputTextArea")).to_be_visible()


def test_a_question_gets_its_cited_answer(page: Page) -> None:
    box = page.get_by_test_id("stChatInputTextArea")
    box.fill("Can I take my broadband along when I move to a new flat?")
    box.press("Enter")
    expect(page.get_by_text("Take your broadband to a new address").first).to_be_visible(timeout=20_000)
    wait_ready(page)
    assert_page(page, page.watch)  # type: ignore[attr-defined]
    _keep(page, "chat")


def test_the_planted_surge_is_on_the_live_page(page: Page) -> None:
    page.get_by_role("link", name="Live").click()
    wait_ready(page)
    expect(page.get_by_text("cyber incident", exact=False).first).to_be_visible(timeout=20_000)
    assert_page(page, page.watch, scroll=True)  # type: ignore[attr-defined]  # headlines are below the fold
    _keep(page, "live")


def test_a_user_gets_recommendations(page: Page) -> None:
    page.get_by_role("link", name="Query studio").click()
    wait_ready(page)
    page.keyboard.press("Control+Enter")  # by user, and the first of them, is what the page begins with
    wait_ready(page)
    expect(page.get_by_role("option")).to_have_count(10, timeout=20_000)
    assert_page(page, page.watch)  # type: ignore[attr-defined]
    _keep(page, "studio")


def test_the_models_page_names_what_is_live(page: Page) -> None:
    page.get_by_role("link", name="Models").click()
    wait_ready(page)
    expect(page.get_by_text("support@").first).to_be_visible(timeout=20_000)
    assert_page(page, page.watch, scroll=True)  # type: ignore[attr-defined]
    _keep(page, "models")
