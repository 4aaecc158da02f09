"""The base of the applications' clients: one service over HTTP, errors as the class that it raised."""

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx2

from shared.errors import Damaged, TooMany, TrilliumError, Unavailable, by_status
from shared.telemetry import request_id

CONNECT_S, ANSWER_S = 3.0, 30.0
_STANDARD = frozenset({"type", "title", "status", "detail", "instance"})


class ServiceClient:
    """Calls the service at `base_url`; `token` is a session's token or an API key.

    `http` may be any httpx2 client, such as Starlette's TestClient around a service in this process.
    Every call returns the JSON object of the answer, and raises the class of shared.errors that the
    service raised, or Unavailable when it can't be reached. Nothing is sent twice.
    """

    def __init__(self, base_url: str, *, token: str | None = None, http: httpx2.Client | None = None) -> None:
        self.base_url = base_url.rstrip("/")
        self.token = token
        self._http = http
        self._owned = http is None

    def get(self, path: str, *, params: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the answer to GET `path`; parameters that are None are left out."""
        return self._call("GET", path, params=params)

    def post(self, path: str, *, json: Any = None, params: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the answer to POST `path`."""
        return self._call("POST", path, json=json, params=params)

    def put(self, path: str, *, json: Any = None, params: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the answer to PUT `path`."""
        return self._call("PUT", path, json=json, params=params)

    def delete(self, path: str, *, params: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the answer to DELETE `path`."""
        return self._call("DELETE", path, params=params)

    def login(self, name: str, password: str) -> dict[str, Any]:
        """Sign in and return the session {token, expires, person, roles, groups}; later calls use it."""
        session = self.post("/v1/sessions", json={"name": name, "password": password})
        self.token = str(session["token"])
        return session

    def me(self) -> dict[str, Any]:
        """Return who the token stands for: {person, roles, groups}."""
        return self.get("/v1/me")

    def ready(self) -> str | None:
        """Return None when the service may get requests, else why not and what to do."""
        try:
            self.get("/readyz")
        except Unavailable as error:
            return error.detail
        return None

    def models(self, *, next: str | None = None, limit: int = 50) -> dict[str, Any]:  # noqa: A002 the contract's word
        """Return a page of versions, newest first: {models, live, rollback_to, history, next}."""
        return self.get("/v1/models", params={"next": next, "limit": limit})

    def model(self, ref: str) -> dict[str, Any]:
        """Return one version with its recipe, curves, figures, card and what compressing it lost."""
        return self.get(f"/v1/models/{quote(ref, safe='@')}")

    def drift(self) -> dict[str, Any]:
        """Return the newest texts beside what the live model was measured on; raises NotFound for a service
        without."""
        return self.get("/v1/drift")

    def runs(self, *, next: str | None = None, limit: int = 50) -> dict[str, Any]:  # noqa: A002 the contract's word
        """Return a page of training runs, newest first: {runs, next}."""
        return self.get("/v1/runs", params={"next": next, "limit": limit})

    def promote(self, ref: str) -> dict[str, Any]:
        """Make the bundle `ref` live (admins): {live, before}."""
        return self.post("/v1/models/promote", json={"ref": ref})

    def rollback(self) -> dict[str, Any]:
        """Go back to the bundle that was live before (admins): {live, before}."""
        return self.post("/v1/models/rollback")

    def close(self) -> None:
        """Close the connections, unless they were given."""
        if self._owned and self._http is not None:
            self._http.close()
            self._http = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _call(
        self, method: str, path: str, *, params: Mapping[str, Any] | None = None, json: Any = None
    ) -> dict[str, Any]:
        given = {name: value for name, value in (params or {}).items() if value is not None}
        body = {} if json is None else {"json": json}
        try:
            answer = self._connected().request(
                method, self.base_url + path, params=given, headers=self._headers(), **body
            )
        except httpx2.TimeoutException as error:
            raise Unavailable(
                f"{self.base_url} did not answer in time; try again, or look at its log"
            ) from error
        except (httpx2.TransportError, httpx2.InvalidURL) as error:
            raise Unavailable(
                f"{self.base_url} can't be reached ({error}); start it with `trillium serve`, or correct "
                "the address in the settings"
            ) from error
        return self._object(answer)

    def _connected(self) -> httpx2.Client:
        if self._http is None:
            self._http = httpx2.Client(timeout=httpx2.Timeout(ANSWER_S, connect=CONNECT_S))
        return self._http

    def _headers(self) -> dict[str, str]:
        headers = {"Accept": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        if request_id.get():
            headers["X-Request-Id"] = request_id.get()
        return headers

    def _object(self, answer: httpx2.Response) -> dict[str, Any]:
        try:
            body = answer.json() if answer.content else {}
        except ValueError:
            body = None
        if answer.status_code >= 400:
            raise _error(answer, body if isinstance(body, dict) else {})
        if not isinstance(body, dict):
            raise Damaged(f"{self.base_url} answered {answer.status_code} without a JSON object; is it ours?")
        return body


def _error(answer: httpx2.Response, body: Mapping[str, Any]) -> TrilliumError:
    cls = by_status(answer.status_code)
    detail = str(body.get("detail") or f"{answer.url.host} answered {answer.status_code}")
    extra = {name: value for name, value in body.items() if name not in _STANDARD}
    wait = answer.headers.get("Retry-After", "")
    if issubclass(cls, TooMany):
        return cls(detail, retry_after=int(wait) if wait.isdecimal() else 1, extra=extra)
    if issubclass(cls, Unavailable):
        return cls(detail, retry_after=int(wait) if wait.isdecimal() else None, extra=extra)
    return cls(detail, extra=extra)
