"""Is the process alive, may it get requests, and its figures."""

from collections.abc import Callable

from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from pydantic import BaseModel
from starlette.responses import Response

from shared.errors import TrilliumError, Unavailable


class Health(BaseModel):
    """The process answers."""

    status: str


def reason_of(check: Callable[[], object]) -> str | None:
    """Return None when `check` returns, else what its error says."""
    try:
        check()
    except TrilliumError as error:
        return error.detail
    return None


def health_router(ready: Callable[[], str | None], registry: CollectorRegistry) -> APIRouter:
    """Return /healthz, /readyz and /metrics; they need no credentials and are not limited."""
    router = APIRouter(tags=["health"])

    @router.get("/healthz")
    async def healthz() -> Health:
        return Health(status="ok")

    @router.get("/readyz")
    def readyz(request: Request) -> Health:
        if request.app.state.draining:
            raise Unavailable("this process is stopping; ask another")
        why = ready()
        if why is not None:
            raise Unavailable(why, retry_after=5)
        return Health(status="ready")

    @router.get("/metrics", response_class=Response)
    def metrics() -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return router
