"""Serve an application's API over HTTP."""

from typing import Annotated

import typer


def command(
    app: Annotated[str, typer.Argument(help="The application.")],
    host: Annotated[str | None, typer.Option(help="Where to listen; by default the settings' host.")] = None,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="By default the settings' port; 0 takes a free one."),
    ] = None,
) -> None:
    """Serve an application's API until it is stopped; running requests may finish (10 s at most)."""
    from pipelines.serving import serve
    from shared.settings import load_settings

    settings = load_settings()
    section = settings.app(app)
    serve(settings, app, host or section.host, section.port if port is None else port)
