"""The dashboards as one ASGI application: Streamlit's pages behind the login."""

import socket
from pathlib import Path

import streamlit as st
import uvicorn
from starlette.middleware import Middleware
from streamlit import config

from dashboards import connect
from dashboards.access import Gate, login_routes
from shared.settings import Settings

SCRIPT = Path(__file__).parent / "app.py"
LOCAL = ("127.0.0.1", "localhost", "::1")


def create(settings: Settings, *, only: str | None = None) -> st.App:
    """Return the application; `only` names the one application whose pages are shown.

    One per process: Streamlit keeps its options and the script's place per process.
    """
    connect.configure(settings, only)
    config._main_script_path = str(SCRIPT)  # beside it lie .streamlit/config.toml and static/
    options: dict[str, object] = {
        "server.port": settings.dashboard.port,
        "server.address": settings.dashboard.host,
    }
    if settings.dashboard.host in LOCAL:
        options["server.allowedHosts"] = [*LOCAL]  # a page elsewhere can't point its own name at us
    config.get_config_options(force_reparse=True, options_from_flags=options)
    return st.App(SCRIPT, routes=login_routes(settings, only), middleware=[Middleware(Gate)])


def serve(app: st.App, listener: socket.socket) -> None:
    """Serve `app` on a bound socket until SIGINT or SIGTERM; open pages don't delay the stop."""
    options = uvicorn.Config(
        app, ws="websockets-sansio", access_log=False, log_level="warning", timeout_graceful_shutdown=2
    )
    uvicorn.Server(options).run(sockets=[listener])
