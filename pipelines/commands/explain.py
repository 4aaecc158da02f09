"""Show which words moved a model's answer, and the training rows nearest to the text."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer


def command(
    artifact: Annotated[str, typer.Argument(help="NAME, NAME@N or a model folder.")],
    text: Annotated[str, typer.Argument(help="The text to explain.")],
    head: Annotated[str | None, typer.Option(help="The head, by default the first with labels.")] = None,
    method: Annotated[
        Literal["occlusion", "gradients"],
        typer.Option(help="Mask each word on the serving engine, or integrated gradients."),
    ] = "occlusion",
    label: Annotated[str | None, typer.Option(help="Explain this label instead of the answer.")] = None,
    other: Annotated[
        str | None, typer.Option(help="The second text, for embed and score heads; a span head's question.")
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(help="The place to explain, for tag, entity and span heads: START:END or its words."),
    ] = None,
    neighbours: Annotated[int, typer.Option(min=0, help="How many nearest training rows.")] = 0,
    train: Annotated[
        Path | None, typer.Option(help="The training file, where it is no longer in its place.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show which words moved a model's answer, and the training rows nearest to the text."""
    from pipelines.flow import emit
    from pipelines.tuning.artifact import find_model
    from shared.errors import BadInput
    from shared.models.explain import explained_head, occlusion
    from shared.models.explain_places import occlusion_at, placed_head
    from shared.models.text_model import TextModel
    from shared.settings import load_settings

    settings = load_settings()
    model = find_model(artifact, settings)
    served = TextModel.load(model.path, threads=settings.runtime.threads)
    placed, spot = placed_head(served, head), None
    if placed is None and at is not None:
        raise BadInput("--at names a place for tag, entity and span heads; this head reads the whole text")
    if placed is not None:
        if method == "gradients":
            raise BadInput(f"gradients explain whole texts; use --method occlusion for kind {placed.kind!r}")
        place = _place(text, at) if at is not None else None
        told, *spot = occlusion_at(served, text, placed.name, place=place, label=label, other=other)
    elif method == "gradients":
        from shared.finetuning.gradients import integrated_gradients

        told = integrated_gradients(model.path, served, text, head, label=label, other=other)
    else:
        told = occlusion(served, text, head, label=label, other=other)
    result: dict[str, Any] = {
        "label": told.label,
        "tokens": [token._asdict() for token in told.tokens],
        "method": told.method,
        **({"at": {"start": spot[0], "end": spot[1], "text": text[spot[0] : spot[1]]}} if spot else {}),
    }
    if neighbours:
        from pipelines.tuning.neighbours import neighbours as nearest

        name = placed.name if placed is not None else explained_head(served, head).name
        result["neighbours"] = nearest(model, served, text, name, neighbours, home=settings.home, train=train)
    if json:
        emit(result, True)
        return
    _show(result)


def _place(text: str, at: str) -> tuple[int, int]:
    """Return the characters that `at` names: two numbers, or the words themselves where they stand first."""
    from shared.errors import BadInput

    first, colon, last = at.partition(":")
    if colon and first.isdecimal() and last.isdecimal():
        return int(first), int(last)
    start = text.find(at)
    if not at or start < 0:
        raise BadInput(f"--at {at!r} is neither START:END nor words of the text")
    return start, start + len(at)


def _show(result: dict[str, Any]) -> None:
    print(f"label: {result['label']}" + (f"  (of {result['at']['text']!r})" if "at" in result else ""))
    for token in sorted(result["tokens"], key=lambda one: -abs(one["weight"])):
        print(f"{token['weight']:>10.3f}  {token['text']}")
    for row in result.get("neighbours", []):
        print(f"{row['similarity']:>10.3f}  [{row['label']}] {row['text']}")
