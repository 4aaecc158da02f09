"""The recommender's flow: items and events -> encoder -> matrix -> ranking -> gate -> bundle."""

from pathlib import Path
from typing import Annotated

import typer

BaseOption = Annotated[str | None, typer.Option(help="The base model; by default the recipe's.")]
RecipeOption = Annotated[Path | None, typer.Option(help="A recipe in TOML; by default the one that ships.")]
NoPromote = Annotated[bool, typer.Option("--no-promote", help="Build and judge, but leave live alone.")]
AsJson = Annotated[bool, typer.Option("--json", help="End with one JSON object on stdout.")]


def train(
    items: Annotated[Path, typer.Option(help="item_id, title, description, tags, ... as `index` takes.")],
    events: Annotated[Path, typer.Option(help="user_id, item_id, event[, ts, value].")],
    like: Annotated[str | None, typer.Option(help="Which values are liked, such as 'value>=4'.")] = None,
    base: BaseOption = None,
    recipe: RecipeOption = None,
    no_promote: NoPromote = False,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of all that is random.")] = None,
    json: AsJson = False,
) -> None:
    """Fine-tune the encoder, learn who takes what together, and publish what beats the plain methods."""
    from pipelines.flow import emit, workplace
    from pipelines.recommending.publishing import Inputs, run
    from services.recommender.events import Like
    from shared.finetuning.recipe import Recipe
    from shared.settings import load_settings

    rule = Like.parse(like) if like else None
    read = Recipe.read(recipe or default_recipe()).with_(base=base, seed=seed)
    place = workplace(load_settings(), "recommender")
    emit(run(place, Inputs(items, events, rule, read), promote=not no_promote), json)


def index(
    path: Annotated[Path, typer.Argument(help="The items; what is gone from it is removed.")],
    remove: Annotated[list[str] | None, typer.Option(help="Remove this item (may be repeated).")] = None,
    base: BaseOption = None,
    no_promote: NoPromote = False,
    json: AsJson = False,
) -> None:
    """Import items and build the index; without a trained model the frozen base encodes them."""
    from pipelines.flow import emit, workplace
    from pipelines.recommending.publishing import index_items
    from shared.settings import load_settings

    place = workplace(load_settings(), "recommender")
    emit(index_items(place, path, remove or [], base=base, promote=not no_promote), json)


def work(
    until_idle: Annotated[bool, typer.Option("--until-idle", help="Stop when nothing is left.")] = False,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks.")] = 30.0,
    json: AsJson = False,
) -> None:
    """Fold items that were changed over the API into a new index, again and again until stopped."""
    from pipelines.flow import emit, workplace
    from pipelines.folding import fold
    from pipelines.recommending.publishing import compact
    from shared.settings import load_settings

    place = workplace(load_settings(), "recommender")
    emit(fold(place, compact, until_idle=until_idle, every=every), json)


def default_recipe() -> Path:
    """Return the recipe that ships."""
    return Path(__file__).parent / "recipes" / "recommender.toml"
