"""What must hold on every page of the dashboards, as functions over a Playwright page.

Used by the browser tests; `python` alone can't import it without Playwright, so nothing else does.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, Playwright

CHROMIUM = "/usr/bin/chromium"
# A browser's own calls home are not the page's: switched off so that "no outside request" means the page.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-sync",
    "--no-first-run",
]
SIZES = ((1366, 768), (1920, 1080))
# Streamlit's one inline script is refused by the CSP without harm; a deep link probes /page/_stcore twice.
KNOWN_ERRORS = (
    re.compile(r"Executing inline script violates the following Content Security Policy"),
    re.compile(r"Refused to execute inline script because it violates"),
    re.compile(r"Failed to load resource: the server responded with a status of 404"),
)
HERE = Path(__file__).parent
READY = "[data-testid=stApp][data-test-script-state=notRunning]"
SETTLED_MS = 1_300  # charts and fonts after the script has ended


def _script(name: str) -> str:
    return (HERE / f"{name}.js").read_text("utf-8")


class Watch:
    """What a page asked for and complained about, from the moment it was made.

    `outside` are addresses off this machine, `errors` console errors beyond the known ones, `missing` the
    paths of answers 404, `dialogs` what an injected script would open.
    """

    def __init__(self, page: Page) -> None:
        self.outside: list[str] = []
        self.errors: list[str] = []
        self.missing: list[str] = []
        self.dialogs: list[str] = []
        page.on("request", self._request)
        page.on("websocket", lambda socket: self._address(socket.url))
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("response", lambda answer: self.missing.append(answer.url) if answer.status == 404 else None)
        page.on("dialog", self._dialog)

    def _request(self, request: Any) -> None:
        if not request.url.startswith(("data:", "blob:")):
            self._address(request.url)

    def _address(self, url: str) -> None:
        if not re.match(r"(https?|wss?)://(127\.0\.0\.1|localhost)[:/]", url):
            self.outside.append(url)

    def _console(self, message: Any) -> None:
        if message.type == "error" and not any(known.search(message.text) for known in KNOWN_ERRORS):
            self.errors.append(message.text)

    def _dialog(self, dialog: Any) -> None:
        self.dialogs.append(dialog.message)
        dialog.dismiss()

    def assert_quiet(self) -> None:
        """No request left the machine, no unknown console error, no dialog, no 404 but the known probes."""
        assert not self.outside, f"requests left the machine: {self.outside}"
        assert not self.errors, f"console errors: {self.errors}"
        assert not self.dialogs, f"a script opened a dialog: {self.dialogs}"
        unknown = [url for url in self.missing if "/_stcore/" not in url]
        assert not unknown, f"not found: {unknown}"


@contextmanager
def chromium(playwright: Playwright) -> Iterator[Browser]:
    """Debian's Chromium, headless."""
    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
    try:
        yield browser
    finally:
        browser.close()


def wait_ready(page: Page, timeout_ms: float = 30_000) -> None:
    """Return when the script has ended and charts and fonts are there."""
    page.wait_for_selector(READY, timeout=timeout_ms)
    page.wait_for_timeout(SETTLED_MS)
    page.wait_for_selector(READY, timeout=timeout_ms)
    page.evaluate("document.fonts.ready.then(() => true)")


def sign_in(page: Page, address: str, name: str, password: str) -> None:
    """Fill in the login form and wait for the first page."""
    page.goto(f"{address}/login")
    page.fill("#name", name)
    page.fill("#password", password)
    page.click("button[type=submit]")
    wait_ready(page)


def assert_no_exception(page: Page) -> None:
    """No page shows Streamlit's own error box or a missing component."""
    for kind in ("stException", "stExceptionDetails", "stPageNotFound"):
        assert page.get_by_test_id(kind).count() == 0, page.get_by_test_id(kind).first.inner_text()


def assert_fits(page: Page, *, scroll: bool = False) -> None:
    """The page is no wider than its window and, without `scroll`, no higher."""
    size = page.evaluate(
        "() => { const m = document.querySelector('[data-testid=stMain]');"
        " return [m.scrollWidth, m.clientWidth, m.scrollHeight, m.clientHeight] }"
    )
    assert size[0] == size[1], f"the page is {size[0]} px wide in {size[1]}"
    assert scroll or size[2] <= size[3], f"the page is {size[2]} px high in {size[3]}"


def assert_text_stays_text(page: Page, title: str) -> None:
    """Hostile text made no image, no script, no link out, and did not change the page's title."""
    found = page.evaluate(_script("markup"))
    assert not found, f"hostile text became markup: {found}"
    assert page.title() == title, f"the title is {page.title()!r}"


def low_contrast(page: Page, limit: float = 4.5) -> list[list[Any]]:
    """Return enabled texts below `limit`: their first characters, the ratio and the colour."""
    found: list[list[Any]] = page.evaluate(_script("contrast"), limit)
    return found


def assert_contrast(page: Page, limit: float = 4.5) -> None:
    """Every text that can be read has a contrast of at least `limit` on what lies behind it."""
    assert not (found := low_contrast(page, limit)), f"texts below {limit}: {found}"


def layout_shifts(page: Page, milliseconds: float) -> list[str]:
    """Return what moved by itself during that time: element, from and to."""
    page.evaluate(
        "() => { window.moved = []; const at = r => `${r.x},${r.y} ${r.width}x${r.height}`;"
        " window.observer = new PerformanceObserver(list => list.getEntries()"
        ".filter(e => !e.hadRecentInput).forEach(e => window.moved.push(`${e.value}: ` + e.sources.map(s =>"
        " `${s.node?.nodeName}.${s.node?.className ?? ''} ${(s.node?.textContent ?? '').slice(0, 60)}"
        " ${at(s.previousRect)} -> ${at(s.currentRect)}`).join('; '))));"
        " window.observer.observe({ type: 'layout-shift' }) }"
    )
    page.wait_for_timeout(milliseconds)
    moved: list[str] = page.evaluate("() => { window.observer.disconnect(); return window.moved }")
    return moved


def fonts_used(page: Page) -> list[str]:
    """Return the families of the web fonts that were loaded."""
    loaded: list[str] = page.evaluate(
        "() => [...document.fonts].filter(f => f.status === 'loaded').map(f => f.family.replaceAll('\"', ''))"
    )
    return sorted(set(loaded))


def assert_page(page: Page, watch: Watch, *, title: str = "Trillium", scroll: bool = False) -> None:
    """All checks that need no time of their own."""
    assert_no_exception(page)
    assert_fits(page, scroll=scroll)
    assert_text_stays_text(page, title)
    assert_contrast(page)
    watch.assert_quiet()
