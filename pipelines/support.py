"""The support flow: tickets -> fine-tune -> gate; documents -> index; both -> bundle."""

from pathlib import Path
from typing import Annotated

import typer

BaseOption = Annotated[str | None, typer.Option(help="The base model; by default the recipe's, or live's.")]
NoPromote = Annotated[bool, typer.Option("--no-promote", help="Build and judge, but leave live alone.")]
AsJson = Annotated[bool, typer.Option("--json", help="End with one JSON object on stdout.")]


def train(
    tickets: Annotated[Path, typer.Option(help="Resolved tickets: question, intent and, if known, reply.")],
    base: BaseOption = None,
    recipe: Annotated[
        Path | None, typer.Option(help="A recipe in TOML; by default the one that ships.")
    ] = None,
    no_promote: NoPromote = False,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of all that is random.")] = None,
    json: AsJson = False,
) -> None:
    """Fine-tune on resolved tickets, judge on held-out ones, and publish what passes."""
    from pipelines.answering import publishing
    from pipelines.flow import emit, workplace
    from shared.finetuning.recipe import Recipe
    from shared.settings import load_settings

    read = Recipe.read(recipe or default_recipe()).with_(base=base, seed=seed)
    place = workplace(load_settings(), "support")
    emit(publishing.train(place, tickets, read, promote=not no_promote), json)


def index(
    path: Annotated[
        Path | None,
        typer.Argument(
            help="Markdown, HTML, text or JSON, a file or a folder; what is gone from it is deleted."
        ),
    ] = None,
    remove: Annotated[list[str] | None, typer.Option(help="Delete this document (may be repeated).")] = None,
    base: BaseOption = None,
    no_promote: NoPromote = False,
    json: AsJson = False,
) -> None:
    """Import documents and build the index; without a trained model the frozen base encodes them."""
    from pipelines.answering import publishing
    from pipelines.flow import emit, workplace
    from shared.errors import UsageError
    from shared.settings import load_settings

    if path is None and not remove:
        raise UsageError("give a file or a folder to import, or --remove ID")
    place = workplace(load_settings(), "support")
    emit(publishing.index(place, path, remove or [], base=base, promote=not no_promote), json)


def work(
    until_idle: Annotated[bool, typer.Option("--until-idle", help="Stop when nothing is left.")] = False,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks.")] = 30.0,
    json: AsJson = False,
) -> None:
    """Fold documents that were changed over the API into a new index, again and again until stopped."""
    from pipelines.answering.publishing import compact
    from pipelines.flow import emit, workplace
    from pipelines.folding import fold
    from shared.settings import load_settings

    place = workplace(load_settings(), "support")
    emit(fold(place, compact, until_idle=until_idle, every=every), json)


def default_recipe() -> Path:
    """Return the recipe that ships."""
    return Path(__file__).parent / "recipes" / "support.toml"
