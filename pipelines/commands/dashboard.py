"""Show the dashboards: one web application with a section per audience, or one application's alone."""

import errno
import importlib
import socket
from typing import Annotated

import typer

from shared.errors import Conflict, UsageError
from shared.settings import load_settings


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens at `host:port`, port 0 for any free one.

    Raises Conflict when the port is in use, UsageError when the host is no address of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((host, port))
        made.listen(socket.SOMAXCONN)
    except OSError as error:
        made.close()
        if error.errno == errno.EADDRINUSE:
            todo = f"stop what runs there, or choose another one: trillium dashboard --port {port + 1}"
            raise Conflict(f"port {port} on {host} is in use; {todo}") from error
        raise UsageError(f"the dashboards can't listen on {host}:{port}: {error}") from error
    return made


def command(
    app: Annotated[str | None, typer.Argument(help="Show this application's pages alone.")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on, 0 for any free one.")] = None,
) -> None:
    """Serve the dashboards until Ctrl-C; the services are reached at their configured addresses."""
    given = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    settings = load_settings({"dashboard": given})
    if app is not None:
        settings.app(app)  # an unknown name is refused before anything starts
    listener = listen(settings.dashboard.host, settings.dashboard.port)
    address = (
        settings.dashboard.host if ":" not in settings.dashboard.host else f"[{settings.dashboard.host}]"
    )
    # By name: nothing of the command line imports the pages, which bring Streamlit with them.
    server = importlib.import_module("dashboards.server")
    application = server.create(settings, only=app)
    print(f"dashboards: http://{address}:{listener.getsockname()[1]}", flush=True)
    server.serve(application, listener)
