"""Make a bundle live: a named one, or the newest whose gate passed."""

from typing import Annotated

import typer


def command(
    app: Annotated[str, typer.Argument(help="The application.")],
    bundle: Annotated[
        str | None, typer.Argument(help="The bundle, NAME@N; by default the newest whose gate passed.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Make a bundle live: a named one, or the newest whose gate passed. Services follow by themselves."""
    from pipelines import flow
    from shared.settings import load_settings

    flow.emit(flow.promote(flow.workplace(load_settings(), app), bundle), json)
