"""The sentiment flow: labelled text -> fine-tune -> gate -> bundle; stream -> Kafka -> windows -> alerts."""

from pathlib import Path
from typing import Annotated

import typer

AsJson = Annotated[bool, typer.Option("--json", help="End with one JSON object on stdout.")]


def train(
    data: Annotated[Path, typer.Option(help="Labelled rows: text, sentiment[, topics joined by |].")],
    topics: Annotated[
        Path | None, typer.Option(help="name,description,keywords (; between keywords); by default ours.")
    ] = None,
    base: Annotated[str | None, typer.Option(help="The base model; by default the recipe's.")] = None,
    recipe: Annotated[
        Path | None, typer.Option(help="A recipe in TOML; by default the one that ships.")
    ] = None,
    no_promote: Annotated[
        bool, typer.Option("--no-promote", help="Build and judge, but leave live alone.")
    ] = False,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of all that is random.")] = None,
    json: AsJson = False,
) -> None:
    """Fine-tune sentiment and topics, judge them on held-out rows, and publish what passes."""
    from pipelines.flow import emit, workplace
    from pipelines.monitoring.publishing import run
    from shared.finetuning.recipe import Recipe
    from shared.settings import load_settings

    read = Recipe.read(recipe or default_recipe()).with_(base=base, seed=seed)
    place = workplace(load_settings(), "sentiment")
    emit(run(place, data, read, topics=topics, promote=not no_promote), json)


def feed(
    file: Annotated[
        Path, typer.Argument(help="A dated stream: JSONL or CSV with id,ts,title,text,source,url.")
    ],
    speed: Annotated[str, typer.Option(help="60x: an hour of the stream in a minute; max: at once.")] = "max",
    json: AsJson = False,
) -> None:
    """Put a dated stream into Kafka, in the file's order; rows that are no records are kept aside."""
    from pipelines.flow import emit
    from pipelines.monitoring.feeding import feed as send
    from pipelines.monitoring.feeding import keep_aside, seconds_of
    from shared.settings import load_settings
    from shared.telemetry import logger

    settings = load_settings()
    fed = send(settings, file, times=seconds_of(speed))
    kept = keep_aside(fed, file, settings.home)
    if fed.naive:
        logger(__name__).warning("times_without_zone", count=fed.naive, taken_as="UTC")
    result = {"sent": fed.sent, "rejected": len(fed.rejected or []), "without_zone": fed.naive}
    emit({**result, "kept": str(kept)} if kept else result, json)


def work(
    until_idle: Annotated[bool, typer.Option("--until-idle", help="Stop when nothing is left.")] = False,
    accept_new_broker: Annotated[
        bool, typer.Option("--accept-new-broker", help="Read another broker from its beginning.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Score what arrives, count it in event time and open alerts on surges, until stopped."""
    from pipelines.flow import emit
    from pipelines.monitoring.working import work as run
    from shared.settings import load_settings

    emit(run(load_settings(), until_idle=until_idle, accept_new_broker=accept_new_broker), json)


def default_recipe() -> Path:
    """Return the recipe that ships."""
    return Path(__file__).parent / "recipes" / "sentiment.toml"
