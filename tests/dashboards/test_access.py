"""Getting in: the form, the cookie, what is closed without it, and the headers of every answer."""

from collections.abc import Iterator

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from dashboards.access import COOKIE, Gate, login_routes
from shared.settings import Settings, load_settings


async def _page(_request: object) -> PlainTextResponse:
    return PlainTextResponse("the page")


async def _socket(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text("hello")
    await socket.close()


def _client(settings: Settings) -> TestClient:
    routes = [
        *login_routes(settings),
        WebSocketRoute("/_stcore/stream", _socket),
        Route("/{rest:path}", _page),
    ]
    return TestClient(Starlette(routes=routes, middleware=[Middleware(Gate)]), follow_redirects=False)


@pytest.fixture
def client(settings: Settings) -> Iterator[TestClient]:
    with _client(settings) as made:
        yield made


GOOD = {"name": "robin", "password": "trillium-demo"}
HTML = {"accept": "text/html"}


def test_a_page_without_a_session_leads_to_the_login(client: TestClient) -> None:
    answer = client.get("/live", headers=HTML)
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    assert "Sign in" in client.get("/login").text


def test_signing_in_sets_a_cookie_that_scripts_and_other_sites_cannot_use(client: TestClient) -> None:
    answer = client.post("/login", data=GOOD)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"].lower()
    assert cookie.startswith(f"{COOKIE}=token-of-robin")
    assert all(part in cookie for part in ("httponly", "samesite=strict", "path=/", "max-age=4"))
    assert client.get("/live", headers=HTML).text == "the page"


def test_signing_out_takes_the_cookie_away(client: TestClient) -> None:
    client.post("/login", data=GOOD)
    assert client.post("/logout").headers["location"] == "/login"
    assert client.get("/live", headers=HTML).status_code == 303


@pytest.mark.parametrize(
    ("form", "status", "said"),
    [
        ({"name": "robin", "password": "wrong"}, 401, "Name or password is wrong."),
        ({"name": "robin"}, 422, "Fill in name and password."),
        ({"name": "x" * 5_000, "password": "y"}, 422, "Fill in name and password."),
    ],
)
def test_a_failed_login_says_why(client: TestClient, form: dict[str, str], status: int, said: str) -> None:
    answer = client.post("/login", data=form)
    assert answer.status_code == status
    assert said in answer.text
    assert "set-cookie" not in answer.headers


def test_the_name_that_was_typed_stays_text(client: TestClient) -> None:
    answer = client.post("/login", data={"name": '"><script>alert(1)</script>', "password": "x"})
    assert "<script>" not in answer.text
    assert "&quot;&gt;&lt;script&gt;" in answer.text


def test_a_form_of_another_site_is_refused(client: TestClient) -> None:
    assert client.post("/login", data=GOOD, headers={"origin": "http://evil.example"}).status_code == 403
    assert client.post("/login", data=GOOD, headers={"origin": "http://testserver"}).status_code == 303


def test_without_any_service_the_form_says_so() -> None:
    nowhere = {app: {"url": "http://127.0.0.1:9"} for app in ("support", "sentiment", "recommender")}
    answer = _client(load_settings(nowhere)).post("/login", data=GOOD)
    assert answer.status_code == 503
    assert "No service can be reached" in answer.text


@pytest.mark.parametrize(
    ("path", "signed_in", "status"),
    [
        ("/_stcore/metrics", False, 404),
        ("/_stcore/metrics", True, 404),
        ("/_stcore/agent/interact", True, 404),
        ("/_stcore/host-config", False, 401),
        ("/_stcore/host-config", True, 200),
        ("/_stcore/health", False, 200),
        ("/app/static/inter-latin.woff2", False, 200),
    ],
)
def test_what_is_open_and_what_is_closed(client: TestClient, path: str, signed_in: bool, status: int) -> None:
    if signed_in:
        client.post("/login", data=GOOD)
    assert client.get(path).status_code == status


def test_no_connection_without_a_session(client: TestClient) -> None:
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/_stcore/stream"):
        pass
    client.post("/login", data=GOOD)
    with client.websocket_connect("/_stcore/stream") as socket:
        assert socket.receive_text() == "hello"


@pytest.mark.parametrize("path", ["/login", "/_stcore/metrics", "/app/static/x", "/live"])
def test_every_answer_has_the_safe_headers(client: TestClient, path: str) -> None:
    headers = client.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    policy = headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "http:" not in policy
