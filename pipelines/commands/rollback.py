"""Go back to the bundle that was live before."""

from typing import Annotated

import typer


def command(
    app: Annotated[str, typer.Argument(help="The application.")],
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Go back to the bundle that was live before; again goes further back."""
    from pipelines import flow
    from shared.settings import load_settings

    flow.emit(flow.rollback(flow.workplace(load_settings(), app)), json)
