"""Write the card of a model: what it is, learnt from, is good at and is not."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    artifact: Annotated[str, typer.Argument(help="NAME, NAME@N or a model folder.")],
    data: Annotated[
        Path | None,
        typer.Option(help="Labelled rows: adds slices, groups and robustness of a classify head on them."),
    ] = None,
    head: Annotated[str | None, typer.Option(help="The head that --data measures.")] = None,
    group: Annotated[
        list[str] | None, typer.Option(help="A column of --data whose groups are compared; may be repeated.")
    ] = None,
    wanted: Annotated[
        str | None, typer.Option(help="The label that is good to get, for groups by selection rate.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write a file instead of printing.")] = None,
) -> None:
    """Write the card of a model (Markdown): what it is, learnt from, is good at and is not."""
    from pipelines.tuning.artifact import find_model
    from shared.artifacts.files import write_aside
    from shared.errors import UsageError
    from shared.finetuning.cards import render

    if data is None and (group or wanted or head):
        raise UsageError("--group, --wanted and --head say what is measured on --data FILE; give it")
    model = find_model(artifact)
    checks = None
    if data is not None:
        from pipelines.tuning.checking import check

        checks = check(model, data, head=head, groups=group or [], wanted=wanted)
    text = render(model.path, model.name, checks=checks)
    if out is not None:
        write_aside(out, text.encode("utf-8", "replace"))
        return
    print(text, end="")
