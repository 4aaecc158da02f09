"""List the rows of a labelled file whose label is probably wrong."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    file: Annotated[Path, typer.Argument(help="Rows with a text and a label.")],
    base: Annotated[str | None, typer.Option(help="The frozen encoder; see `bases list`.")] = None,
    count: Annotated[int, typer.Option(min=1, help="How many rows to print.")] = 100,
    text_column: Annotated[str, typer.Option(help="Column of the text.")] = "text",
    label_column: Annotated[str, typer.Option(help="Column of the label.")] = "label",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the folds.")] = 0,
) -> None:
    """List the rows whose label is probably wrong, one JSON object a line, most likely first."""
    from json import dumps

    from pipelines.tuning.noise import find_noise
    from shared.finetuning.recipe import DEFAULT_BASE
    from shared.settings import load_settings
    from shared.telemetry import logger

    found = find_noise(
        file,
        base=base or DEFAULT_BASE,
        home=load_settings().home,
        count=count,
        text_column=text_column,
        label_column=label_column,
        seed=seed,
    )
    for row in found.rows:
        print(dumps(row, ensure_ascii=False))
    logger(__name__).info(
        "looked for wrong labels", suspect=found.suspect, judged=found.judged, unjudged=found.unjudged
    )
