"""Put a backup back: checked first, then all of it or nothing."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    source: Annotated[Path, typer.Argument(help="The backup, a file or a folder.")],
    force: Annotated[bool, typer.Option("--force", help="Move aside what is there.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Put a backup back. Stop services and workers first, and restore only what you made yourself."""
    from pipelines.flow import emit
    from pipelines.restoring import restore
    from shared.settings import load_settings

    emit(restore(load_settings(), source, force=force), json)
