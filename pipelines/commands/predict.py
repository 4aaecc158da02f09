"""Say what a model makes of every row of a file, one JSON object a line."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    artifact: Annotated[str, typer.Argument(help="NAME@N, a name (its newest), or a model folder.")],
    file: Annotated[Path, typer.Argument(help="Rows with the columns of training, without what was learnt.")],
) -> None:
    """Say what a model makes of every row of a file, one JSON object a line."""
    from json import dumps

    from pipelines.tuning.artifact import find_model
    from pipelines.tuning.predicting import predictions
    from shared.settings import load_settings

    settings = load_settings()
    for answer in predictions(find_model(artifact, settings).path, file, settings.home):
        print(dumps(answer, ensure_ascii=False))
