"""Bring every database to the schema of this version."""

from typing import Annotated

import typer


def command(json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False) -> None:
    """Bring every database to the schema of this version. Make a backup first (`trillium backup`)."""
    from pipelines.flow import emit
    from shared.settings import load_settings
    from shared.storage.migrate import migrate

    done = migrate(load_settings())
    if json:
        emit({"databases": [vars(one) for one in done]}, True)
        return
    for one in done:
        change = f"at {one.now} already" if one.before == one.now else f"{one.before or 'new'} -> {one.now}"
        print(f"{one.name:<14} {change:<20} {one.where}")
