"""Copy databases, live pointers and the artifacts that they reach into one file or folder."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    target: Annotated[Path, typer.Argument(help="A new file (.tar.gz) or a new folder.")],
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Copy databases, live pointers and the artifacts that they reach; services may go on meanwhile.

    The backup holds password hashes and your documents: keep it as you keep those.
    """
    from pipelines.archive import backup
    from pipelines.flow import emit
    from shared.settings import load_settings

    emit(backup(load_settings(), target), json)
