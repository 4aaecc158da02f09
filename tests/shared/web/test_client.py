import socket
import threading

import httpx2
import pytest

from shared.errors import (
    BadInput,
    Conflict,
    Damaged,
    Denied,
    NotFound,
    StorageFull,
    TooLarge,
    TooMany,
    TrilliumError,
    Unauthenticated,
    Unavailable,
)
from shared.telemetry import request_id
from shared.web.client import ServiceClient


@pytest.fixture
def client(world):
    return ServiceClient("http://testserver", token=world.keys["viewer"], http=world.client)


@pytest.mark.parametrize(
    ("name", "error"),
    [("conflict", Conflict), ("full", StorageFull), ("down", Unavailable), ("bug", TrilliumError)],
)
def test_an_error_is_the_class_that_the_service_raised(client, name, error):
    with pytest.raises(error) as caught:
        client.get(f"/v1/things/{name}")
    assert type(caught.value) is error
    assert caught.value.extra["request_id"]
    assert getattr(caught.value, "retry_after", None) == (7 if name == "down" else None)


@pytest.mark.parametrize(
    ("role", "call", "error"),
    [
        ("viewer", lambda c: c.get("/nothing"), NotFound),
        ("viewer", lambda c: c.get("/v1/things/x", params={"k": 0}), BadInput),
        ("viewer", lambda c: c.post("/v1/things", json={"name": "x"}), Denied),
        ("viewer", lambda c: c.promote("app@1"), Denied),
        ("editor", lambda c: c.rollback(), Denied),
        ("admin", lambda c: c.promote("app@1"), NotFound),
        ("admin", lambda c: c.promote("nonsense"), BadInput),
        ("admin", lambda c: c.rollback(), Conflict),
        ("admin", lambda c: c.post("/v1/things", json={"name": "x" * 1_000_001}), TooLarge),
        ("admin", lambda c: c.models(next="app@9"), BadInput),
    ],
)
def test_every_refusal_has_its_class(world, role, call, error):
    with pytest.raises(error) as caught:
        call(ServiceClient("http://testserver", token=world.keys[role], http=world.client))
    assert type(caught.value) is error


def test_no_token_and_a_wrong_password_are_not_signed_in(world):
    client = ServiceClient("http://testserver/", http=world.client)
    with pytest.raises(Unauthenticated, match="/v1/sessions"):
        client.me()
    with pytest.raises(Unauthenticated):
        client.login("ann", "wrong password")
    assert client.login("ann", "correct horse")["roles"] == ["app:admin"]
    assert client.me() == {"person": "ann", "roles": ["app:admin"], "groups": ["staff"]}


def test_too_many_says_how_long_to_wait(make_world):
    world = make_world(limits={"requests_per_minute": 1})
    client = ServiceClient("http://testserver", token=world.keys["viewer"], http=world.client)
    client.me()
    with pytest.raises(TooMany) as caught:
        client.me()
    assert 50 <= caught.value.retry_after <= 60


def test_readiness_gives_the_reason(world, client):
    assert client.ready() is None
    world.state.reason = "run `trillium train app`"
    assert client.ready() == "run `trillium train app`"


def test_the_request_id_goes_along(world, client):
    token = request_id.set("page-1234-abcd")
    try:
        with pytest.raises(Conflict) as caught:
            client.get("/v1/things/conflict")
    finally:
        request_id.reset(token)
    assert caught.value.extra["request_id"] == "page-1234-abcd"


def test_nobody_there_says_what_to_start():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        port = taken.getsockname()[1]
        with (
            ServiceClient(f"http://127.0.0.1:{port}") as client,
            pytest.raises(Unavailable, match="trillium serve"),
        ):
            client.me()


def test_a_silent_service_is_given_up_and_nothing_is_sent_twice():
    with socket.create_server(("127.0.0.1", 0)) as server, httpx2.Client(timeout=0.2) as http:
        seen = []

        def accept_and_say_nothing():
            connection, _ = server.accept()
            with connection:
                seen.append(connection.recv(10_000))
                while connection.recv(10_000):
                    pass

        thread = threading.Thread(target=accept_and_say_nothing)
        thread.start()
        client = ServiceClient(f"http://127.0.0.1:{server.getsockname()[1]}", http=http)
        with pytest.raises(Unavailable, match="in time"):
            client.post("/v1/things", json={"name": "x"})
        http.close()
        thread.join()
    assert len(seen) == 1


@pytest.mark.parametrize("answer", [b"<html>", b"[1]", b"\xff"])
def test_what_is_no_service_of_ours(answer):
    transport = httpx2.MockTransport(lambda request: httpx2.Response(200, content=answer))
    with httpx2.Client(transport=transport) as http, pytest.raises(Damaged, match="is it ours"):
        ServiceClient("http://elsewhere", http=http).me()


def test_a_proxys_error_page_is_unavailable():
    transport = httpx2.MockTransport(lambda request: httpx2.Response(502, text="<html>bad gateway"))
    with httpx2.Client(transport=transport) as http, pytest.raises(Unavailable, match="502"):
        ServiceClient("http://elsewhere", http=http).me()
