"""Errors over HTTP: problem+json (RFC 9457) for whatever goes wrong, in the answers and in OpenAPI."""

import json
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException
from starlette.responses import Response

from shared.errors import TrilliumError, Unauthenticated
from shared.telemetry import request_id

MEDIA_TYPE = "application/problem+json"
OPEN = {("/healthz", "get"), ("/readyz", "get"), ("/metrics", "get"), ("/v1/sessions", "post")}
_SCHEMA = {
    "type": "object",
    "title": "Problem",
    "description": "RFC 9457. `errors` is there for a request that doesn't fit the schema.",
    "required": ["type", "title", "status", "detail", "instance", "request_id"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "what came, what is allowed, what to do"},
        "instance": {"type": "string"},
        "request_id": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"field": {"type": "string"}, "message": {"type": "string"}},
            },
        },
    },
}


def problem(
    status: int,
    title: str,
    detail: str,
    path: str,
    *,
    extra: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return the answer for one error. `extra` can add members, never replace the standard ones."""
    slug = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
    body = {
        **(extra or {}),
        "type": f"urn:trillium:problem:{slug}",
        "title": title,
        "status": status,
        "detail": detail,
        "instance": path,
        "request_id": request_id.get(),
    }
    # ASCII escapes: half a surrogate pair out of a request would fail as UTF-8.
    return Response(json.dumps(body, default=str), status, dict(headers or {}), media_type=MEDIA_TYPE)


def problem_of(error: TrilliumError, path: str) -> Response:
    """Return the answer for an error of the tree, with Retry-After or WWW-Authenticate where they belong."""
    headers = {}
    wait = getattr(error, "retry_after", None)
    if wait is not None:
        headers["Retry-After"] = str(wait)
    if isinstance(error, Unauthenticated):
        headers["WWW-Authenticate"] = "Bearer"
    return problem(error.status, error.title, error.detail, path, extra=error.extra, headers=headers)


def internal(path: str) -> Response:
    """Return the answer for a fault of the program; the log has the rest under the request id."""
    detail = f"the service failed; tell its operator the request id {request_id.get()}"
    return problem(500, TrilliumError.title, detail, path)


def handle_errors(app: FastAPI) -> None:
    """Give `app` the handlers for its own errors, Starlette's and those of the request's schema."""
    app.add_exception_handler(TrilliumError, _own)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)


async def _own(request: Request, error: Exception) -> Response:
    assert isinstance(error, TrilliumError)  # noqa: S101 - registered for that class
    return problem_of(error, request.url.path)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for that class
    title = HTTPStatus(error.status_code).phrase
    details = {
        404: f"there is nothing at {request.url.path}; /openapi.json lists the routes",
        405: f"{request.method} is not allowed at {request.url.path}; see the Allow header",
    }
    detail = details.get(error.status_code, str(error.detail))
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers["Allow"] = ", ".join(_allowed(request))
    return problem(error.status_code, title, detail, request.url.path, headers=headers)


def _allowed(request: Request) -> list[str]:
    """Return the methods of all routes at this path; Starlette's own answer names the first route's only."""
    here = [route for route in request.app.state.routes if route.path_regex.match(request.url.path)]
    return sorted({method for route in here for method in route.methods or ()})


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for that class
    # Without the input: it is what a person wrote, or a secret.
    errors = [
        {"field": ".".join(str(part) for part in one["loc"]), "message": str(one["msg"])}
        for one in error.errors()
    ]
    first = errors[0] if errors else {"field": "body", "message": "does not fit"}
    detail = f"{first['field']}: {first['message']}; /openapi.json describes the request"
    return problem(422, "Bad input", detail, request.url.path, extra={"errors": errors})


def declare_problems(app: FastAPI) -> None:
    """Let OpenAPI say that every route answers errors with a problem, and which ask for credentials."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _declared(app)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # the way FastAPI documents


def _declared(app: FastAPI) -> dict[str, Any]:
    schema = get_openapi(title=app.title, version=app.version, routes=app.routes)
    components = schema.setdefault("components", {})
    components.setdefault("schemas", {})["Problem"] = _SCHEMA
    for unused in ("HTTPValidationError", "ValidationError"):
        components["schemas"].pop(unused, None)
    components["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer", "description": "a session's token or an API key"}
    }
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            needs_caller = (path, method) not in OPEN
            statuses = ["413", "422", "429", "4XX", "5XX", *(("401", "403") if needs_caller else ("401",))]
            for status in statuses:
                operation["responses"][status] = {"description": "A problem (RFC 9457)", "content": content}
            if needs_caller:
                operation["security"] = [{"bearer": []}]
    return schema
