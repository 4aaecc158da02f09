"""Who gets in: the login page, the session cookie, and the headers of every answer."""

import html
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import parse_qs, urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request, cookie_parser
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dashboards.wording import DEFAULT, languages, say
from shared.clock import parse_time
from shared.errors import BadInput, Denied, TooMany, TrilliumError, Unavailable
from shared.settings import Settings
from shared.telemetry import logger
from shared.web.client import ServiceClient

COOKIE = "trillium_session"
PAGE = Path(__file__).parent / "login.html"
LONGEST_FORM = 4_096  # bytes of name and password together
log = logger(__name__)

# Vega compiles expressions (unsafe-eval), inline component scripts are blobs; the one inline script of
# Streamlit's page is refused without harm.
CSP = "; ".join(
    (
        "default-src 'self'",
        "img-src 'self' data: blob:",
        "style-src 'self' 'unsafe-inline'",
        "script-src 'self' blob: 'unsafe-eval' 'wasm-unsafe-eval'",
        "connect-src 'self' ws: wss:",
        "font-src 'self' data:",
        "frame-ancestors 'none'",
        "form-action 'self'",
        "object-src 'none'",
        "base-uri 'self'",
    )
)
HEADERS = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
# What the login page itself needs, and the probe of an orchestrator.
OPEN = ("/login", "/logout", "/app/static/", "/_stcore/health")
# Counters and the script interface of Streamlit have no login of their own.
CLOSED = ("/_stcore/metrics", "/_stcore/agent", "/_stcore/script-health-check")


def _session_of(headers: Headers) -> str | None:
    return cookie_parser(headers.get("cookie", "")).get(COOKIE) or None


class Gate:
    """Middleware: no page and no connection without a session cookie; safe headers on every answer.

    The cookie's token is verified by the services, at every call: here only its presence counts.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        path, headers = scope["path"], Headers(scope=scope)
        if scope["type"] == "websocket":
            if _session_of(headers):
                await self.app(scope, receive, send)
            else:
                await send({"type": "websocket.close", "code": 1008})
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        answer = self._refusal(path, headers)
        await (answer or self.app)(scope, receive, with_headers)

    def _refusal(self, path: str, headers: Headers) -> Response | None:
        if path.startswith(CLOSED):
            return PlainTextResponse("", 404)
        if path.startswith(OPEN) or _session_of(headers):
            return None
        if "text/html" in headers.get("accept", ""):
            return RedirectResponse("/login", 303, {"Cache-Control": "no-store"})
        return PlainTextResponse("", 401) if path.startswith("/_stcore/") else None


def _from_here(request: Request) -> bool:
    """Whether a form was sent by one of our own pages (a browser names the sender's origin)."""
    origin = request.headers.get("origin")
    site = request.headers.get("sec-fetch-site")
    if origin not in (None, "null"):
        return urlsplit(origin).netloc == request.headers.get("host")
    return site in (None, "same-origin", "none")


def _page(request: Request, *, problem: str | None = None, name: str = "", status: int = 200) -> HTMLResponse:
    wanted = request.query_params.get("lang", DEFAULT)
    language = wanted if wanted in languages() else DEFAULT
    texts = {
        key: html.escape(say(language, f"login.{key}"))
        for key in ("title", "lead", "person", "word", "submit")
    }
    fill = texts | {
        "app": html.escape(say(language, "app.name")),
        "language": language,
        "given": html.escape(name),
        "problem": html.escape(say(language, problem)) if problem else "",
        "hidden": "" if problem else "hidden",
    }
    body = Template(PAGE.read_text("utf-8")).substitute(fill)
    return HTMLResponse(body, status, {"Cache-Control": "no-store"})


async def _form(request: Request) -> dict[str, str]:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > LONGEST_FORM:
            return {}
    return {name: values[0] for name, values in parse_qs(body.decode("utf-8", "replace")).items()}


def sign_in(addresses: Sequence[str], name: str, password: str) -> dict[str, Any]:
    """Return the session of the first service that can be reached; raises what it answers."""
    for address in addresses:
        try:
            with ServiceClient(address) as service:
                return service.login(name, password)
        except Unavailable as error:
            log.warning("a service can't be reached for the login", address=address, why=error.title)
    raise Unavailable("no service can be reached; start one with trillium serve")


def _problem(error: TrilliumError) -> tuple[str, int]:
    if isinstance(error, TooMany):
        return "login.too_many", 429
    if isinstance(error, Denied | BadInput):
        return "login.wrong", 401
    return ("login.offline", 503) if isinstance(error, Unavailable) else ("login.failed", 502)


def _seconds_left(session: dict[str, Any]) -> int:
    moment, _ = parse_time(session["expires"])
    return max(0, int((moment - datetime.now(UTC)).total_seconds()))


def login_routes(settings: Settings, only: str | None = None) -> list[Route]:
    """Return the routes of the login: a form, its answer with the cookie, and the way out."""
    addresses = [settings.url(app) for app in settings.apps if only in (None, app)]

    async def login(request: Request) -> Response:
        if request.method != "POST":
            return _page(request)
        form = await _form(request)
        name, password = form.get("name", ""), form.get("password", "")
        if not _from_here(request):
            return _page(request, problem="login.elsewhere", status=403)
        if not name or not password:
            return _page(request, problem="login.missing", name=name, status=422)
        try:
            session = await run_in_threadpool(sign_in, addresses, name, password)
        except TrilliumError as error:
            problem, status = _problem(error)
            return _page(request, problem=problem, name=name, status=status)
        answer = RedirectResponse("/", 303, {"Cache-Control": "no-store"})
        answer.set_cookie(
            COOKIE,
            session["token"],
            max_age=_seconds_left(session),
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
        return answer

    async def logout(request: Request) -> Response:
        answer = RedirectResponse("/login", 303, {"Cache-Control": "no-store"})
        if _from_here(request):
            answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
        return answer

    return [
        Route("/login", login, methods=["GET", "POST"]),
        Route("/logout", logout, methods=["GET", "POST"]),
    ]
