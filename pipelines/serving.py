"""One service in this process: its port taken first, then its databases checked, then its requests."""

import asyncio
import errno
import importlib
import signal
import socket
import threading
from types import FrameType

import uvicorn
from fastapi import FastAPI

from shared.errors import Conflict, Unavailable, UsageError
from shared.settings import Settings
from shared.storage.engine import ACCOUNTS, database_for
from shared.storage.migrate import open_checked, targets

GRACE_S = 10  # for the requests that are running when the process is asked to stop
DRAIN_S = 1.0  # /readyz says no for so long before the port closes, so that a balancer can turn away
KEEP_ALIVE_S = 30  # longer than a client keeps an idle connection (5 s), which then is never cut off in use


def serve(settings: Settings, app: str, host: str, port: int) -> None:
    """Serve `services.<app>.api:create(settings)` until SIGTERM or Ctrl-C.

    Raises Conflict for a port in use or an old schema, UsageError for an address that isn't ours,
    and what the application raised at its start.
    """
    listening = listen(host, port)
    try:
        _check_databases(settings, app)
        service: FastAPI = importlib.import_module(f"services.{app}.api").create(settings)
        shown = f"[{host}]" if ":" in host else host
        print(f"{app} serves at http://{shown}:{listening.getsockname()[1]}", flush=True)
        asyncio.run(_run(service, listening))
    finally:
        listening.close()


def listen(host: str, port: int) -> socket.socket:
    """Return a socket bound to the address; port 0 takes a free one."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(128)  # connections wait here while the models load
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRINUSE:
            raise Conflict(
                f"port {port} of {host} is in use; stop what uses it, or choose another with --port"
            ) from error
        if error.errno == errno.EACCES:
            raise Conflict(
                f"this user may not take port {port}; choose one above 1023 with --port"
            ) from error
        raise UsageError(f"{host!r} is no address of this machine ({error}); give another --host") from error
    return listening


def _check_databases(settings: Settings, app: str) -> None:
    for name in (ACCOUNTS, app):
        if name in targets():
            with database_for(settings, name) as db:
                open_checked(db)


async def _run(service: FastAPI, listening: socket.socket) -> None:
    config = uvicorn.Config(
        service,
        lifespan="off",  # run here, where an error of it reaches the caller
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACE_S,
    )
    server = _Server(config, service)
    async with service.router.lifespan_context(service):
        await server.serve(sockets=[listening])
    if not server.started:
        raise Unavailable("the service did not start; its log says why")


class _Server(uvicorn.Server):
    """Turns readiness off at SIGTERM, and stops accepting a moment later."""

    def __init__(self, config: uvicorn.Config, service: FastAPI) -> None:
        super().__init__(config)
        self._service = service

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop; a second signal, and Ctrl-C, skip the pause."""
        if sig != signal.SIGTERM:
            super().handle_exit(sig, frame)
        elif self._service.state.draining:
            self.should_exit = True
        else:
            self._service.state.draining = True
            timer = threading.Timer(DRAIN_S, self._stop)
            timer.daemon = True
            timer.start()

    def _stop(self) -> None:
        self.should_exit = True
