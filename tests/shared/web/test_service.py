import json
import sqlite3

import pytest
from starlette.testclient import TestClient
from structlog.testing import capture_logs

from shared.artifacts.store import ArtifactStore
from shared.errors import Conflict
from shared.settings import load_settings
from shared.web.service import create_service

JSON = {"Content-Type": "application/json"}


def problem(answer):
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert {"type", "title", "status", "detail", "instance", "request_id"} <= body.keys()
    assert (body["status"], body["request_id"]) == (answer.status_code, answer.headers["x-request-id"])
    return body


@pytest.mark.parametrize(
    ("method", "path", "more", "status", "says"),
    [
        ("GET", "/nothing", {}, 404, "/openapi.json"),
        ("GET", "/v1/nothing", {}, 404, "/v1/nothing"),
        ("PATCH", "/v1/things", {}, 405, "PATCH"),
        ("GET", "/v1/things/ok", {"params": {"k": "many"}}, 422, "k"),
        ("GET", "/v1/things/ok", {"params": {"k": 101}}, 422, "100"),
        ("POST", "/v1/things", {"json": {"name": "x", "colour": "red"}}, 422, "colour"),
        ("POST", "/v1/things", {"json": [1]}, 422, "body"),
        ("POST", "/v1/things", {"content": b'{"name": ', "headers": JSON}, 422, "body"),
        ("POST", "/v1/things", {"content": b'{"\\ud800": "x"}', "headers": JSON}, 422, "body"),
        ("POST", "/v1/things", {"content": b'"\xff"', "headers": JSON}, 400, "body"),
        ("POST", "/v1/things", {"content": b"[" * 100_000, "headers": JSON}, 400, "body"),
        ("GET", "/v1/things/a%00b", {}, 422, "NUL"),
        ("GET", "/v1/things/conflict", {}, 409, "taken"),
        ("GET", "/v1/things/full", {}, 507, "no room"),
        ("GET", "/v1/things/down", {}, 503, "later"),
        ("GET", "/v1/things/bug", {}, 500, "request id"),
    ],
)
def test_every_error_is_a_problem(world, method, path, more, status, says):
    headers = world.auth("admin") | more.pop("headers", {})
    answer = world.client.request(method, path, headers=headers, **more)
    assert answer.status_code == status, answer.text
    assert says in problem(answer)["detail"]
    assert "secret value" not in answer.text


def test_a_problem_has_the_fields_and_headers_that_belong_to_it(world):
    get = lambda name: world.client.get(f"/v1/things/{name}", headers=world.auth("viewer"))  # noqa: E731
    assert problem(get("conflict"))["other"] == "b"
    assert get("down").headers["retry-after"] == "7"
    assert world.client.delete("/v1/things").headers["allow"] == "POST"
    assert world.client.put("/v1/things/x").headers["allow"] == "DELETE, GET"
    errors = world.client.post("/v1/things", json={"size": "big"}, headers=world.auth("admin")).json()[
        "errors"
    ]
    assert [error["field"] for error in errors] == ["body.name", "body.size"]


@pytest.mark.parametrize(
    "header", [None, "Basic eA==", "Bearer", "Bearer trk_wrong", "Bearer x.y", "Bearer ü"]
)
def test_wrong_credentials_are_refused(world, header):
    headers = {"Authorization": header.encode()} if header else {}
    answer = world.client.get("/v1/me", headers=headers)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    problem(answer)


@pytest.mark.parametrize(("role", "status"), [("viewer", 403), ("editor", 200), ("admin", 200)])
def test_a_higher_role_may_what_a_lower_may(world, role, status):
    answer = world.client.post("/v1/things", json={"name": "x"}, headers=world.auth(role))
    assert answer.status_code == status
    if status == 403:
        assert "app:editor" in problem(answer)["detail"]


def test_a_session_lasts_as_long_as_it_says_and_follows_the_roles(world):
    session = world.client.post("/v1/sessions", json={"name": "ann", "password": "correct horse"}).json()
    assert (session["person"], session["roles"], session["groups"]) == ("ann", ["app:admin"], ["staff"])
    assert session["expires"] == "2026-01-01T12:00:00Z"
    headers = {"Authorization": f"Bearer {session['token']}"}
    make = lambda: world.client.post("/v1/things", json={"name": "x"}, headers=headers).status_code  # noqa: E731
    assert make() == 200
    world.accounts.change_user("ann", roles=["app:viewer"])
    assert make() == 403
    world.clock.forward(hours=12)
    assert make() == 401


def test_a_revoked_key_is_refused_at_once(world):
    me = lambda: world.client.get("/v1/me", headers=world.auth("viewer"))  # noqa: E731
    assert me().json() == {"person": "viewer", "roles": ["app:viewer"], "groups": []}
    key = next(key for key in world.accounts.list_keys() if key["name"] == "viewer")
    world.accounts.revoke_key(key["id"])
    assert me().status_code == 401
    assert "revoked" in me().json()["detail"]


def test_guessing_a_password_is_slowed_down(world):
    guess = lambda: world.client.post("/v1/sessions", json={"name": "ann", "password": "guess"})  # noqa: E731
    assert [guess().status_code for _ in range(11)] == [401] * 10 + [429]
    assert int(guess().headers["retry-after"]) >= 1


def test_inventing_keys_is_slowed_down(world):
    statuses = [
        world.client.get("/v1/me", headers={"Authorization": f"Bearer trk_{n}"}).status_code
        for n in range(62)
    ]
    assert (statuses[:60], statuses[61]) == ([401] * 60, 429)


def test_one_callers_requests_do_not_use_up_anothers(make_world):
    world = make_world(limits={"requests_per_minute": 3})
    statuses = [world.client.get("/v1/me", headers=world.auth("viewer")).status_code for _ in range(4)]
    assert statuses == [200, 200, 200, 429]
    late = world.client.get("/v1/me", headers=world.auth("viewer"))
    assert (problem(late)["status"], int(late.headers["retry-after"])) == (429, 20)
    assert world.client.get("/v1/me", headers=world.auth("editor")).status_code == 200
    assert [world.client.get("/healthz").status_code for _ in range(9)] == [200] * 9


def test_a_body_over_the_limit_is_refused_however_it_is_sent(make_world):
    world = make_world(limits={"body_bytes": 1_000})
    pieces = (b"x" * 600 for _ in range(2))
    for content in (b"x" * 1_001, pieces):
        answer = world.client.post("/v1/things", content=content, headers=world.auth("admin"))
        assert problem(answer)["status"] == 413
    fits = json.dumps({"name": "x" * 900}).encode()
    streamed = iter([fits[:500], fits[500:]])
    headers = world.auth("admin") | {"Content-Type": "application/json"}
    assert world.client.post("/v1/things", content=streamed, headers=headers).status_code == 200


@pytest.mark.parametrize(("given", "kept"), [("abcdefgh-1", True), ("no good", False), ("x" * 65, False)])
def test_a_request_id_goes_through(world, given, kept):
    answer = world.client.get("/nothing", headers={"X-Request-Id": given})
    assert (answer.headers["x-request-id"] == given) is kept
    problem(answer)


def test_the_log_names_the_route_and_nothing_that_people_wrote(world):
    with capture_logs() as lines:
        world.client.get("/v1/things/private-name", params={"k": "private"}, headers=world.auth("viewer"))
    (line,) = [line for line in lines if line["event"] == "request"]
    assert (line["route"], line["status"]) == ("/v1/things/{name}", 422)
    assert "private" not in str(lines)


def test_readiness_follows_the_application_and_the_stop(world):
    assert world.client.get("/readyz").status_code == 200
    world.state.reason = "run `trillium train app`"
    assert problem(world.client.get("/readyz"))["detail"] == "run `trillium train app`"
    world.state.reason, world.app.state.draining = None, True
    assert world.client.get("/readyz").status_code == 503
    assert world.client.get("/healthz").json() == {"status": "ok"}


def test_an_old_accounts_schema_is_named_by_readiness(tmp_path):
    settings = load_settings({"home": str(tmp_path)}, env={})
    (tmp_path / "db").mkdir()
    with sqlite3.connect(tmp_path / "db" / "accounts.sqlite") as old:
        old.execute("CREATE TABLE people (name TEXT)")
    old.close()
    app = create_service(
        "app",
        settings,
        routers=[],
        ready=lambda: None,
        store=ArtifactStore(tmp_path / "artifacts"),
        ladder=("app:admin",),
    )
    with TestClient(app) as client:
        assert "trillium migrate" in problem(client.get("/readyz"))["detail"]
        answer = client.get("/v1/me", headers={"Authorization": "Bearer trk_x"})
        assert (answer.status_code, problem(answer)["title"]) == (409, Conflict.title)


def test_the_figures_are_by_route(world):
    world.client.get("/v1/things/a", headers=world.auth("viewer"))
    world.client.get("/v1/things/b", headers=world.auth("viewer"))
    world.client.get("/nothing-at-all")
    text = world.client.get("/metrics").text
    assert (
        'trillium_requests_total{method="GET",route="/v1/things/{name}",service="app",status="200"} 2.0'
        in text
    )
    assert 'route="unmatched"' in text
    assert "nothing-at-all" not in text


def test_hooks_run_around_the_service(make_world):
    world = make_world()
    assert world.log == ["start"]
    world.client.__exit__(None, None, None)
    assert (world.log, world.app.state.draining) == (["start", "stop"], True)
    world.client.__enter__()


def test_safe_headers_and_no_docs_pages(world):
    headers = world.client.get("/healthz").headers
    assert (headers["x-content-type-options"], headers["x-frame-options"]) == ("nosniff", "DENY")
    assert "access-control-allow-origin" not in headers
    assert world.client.get("/docs").status_code == 404


def test_openapi_declares_the_problems(world):
    schema = world.client.get("/openapi.json").json()
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            responses = operation["responses"]
            assert {"413", "422", "429", "4XX", "5XX", "401"} <= responses.keys(), (path, method)
            assert list(responses["422"]["content"]) == ["application/problem+json"]
    assert schema["paths"]["/v1/things"]["post"]["security"] == [{"bearer": []}]
    assert "security" not in schema["paths"]["/v1/sessions"]["post"]
    assert "HTTPValidationError" not in json.dumps(schema)


@pytest.mark.postgres
def test_a_service_on_postgres(make_world, postgres_url):
    world = make_world(database={"url": postgres_url})
    assert world.client.get("/readyz").status_code == 200
    assert world.client.get("/v1/me", headers=world.auth("viewer")).json()["person"] == "viewer"
