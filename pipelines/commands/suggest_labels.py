"""Propose the next rows of a file to label: the doubtful, the different, or the disputed."""

from pathlib import Path
from typing import Annotated, Literal

import typer


def command(
    artifact: Annotated[str, typer.Argument(help="NAME, NAME@N or a model folder.")],
    file: Annotated[Path, typer.Argument(help="Rows without labels, with the text column of training.")],
    count: Annotated[int, typer.Option(min=1, help="How many rows to propose.")] = 20,
    method: Annotated[
        Literal["uncertainty", "diversity", "committee"],
        typer.Option(help="By doubt; by doubt and difference; by the quarrel of several heads or models."),
    ] = "uncertainty",
    head: Annotated[str | None, typer.Option(help="The head, by default the first with labels.")] = None,
    member: Annotated[
        list[str] | None, typer.Option(help="Another model of the committee; may be repeated.")
    ] = None,
    train: Annotated[
        Path | None, typer.Option(help="The training file, where it is no longer in its place.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the committee's resamples.")] = 0,
) -> None:
    """Propose the next rows of a file to label, one JSON object a line, best first."""
    from json import dumps

    from pipelines.tuning.artifact import find_model
    from pipelines.tuning.suggesting import suggest
    from shared.errors import UsageError
    from shared.settings import load_settings

    if member and method != "committee":
        raise UsageError(f"--member belongs to --method committee, not to {method}")
    settings = load_settings()
    found = suggest(
        find_model(artifact, settings),
        file,
        count=count,
        method=method,
        home=settings.home,
        head=head,
        members=[find_model(one, settings) for one in member or []],
        train=train,
        seed=seed,
    )
    for row in found:
        print(dumps(row, ensure_ascii=False, default=str))
