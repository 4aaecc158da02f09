"""Run the whole suite on example data: fine-tune, index, serve, replay, show."""

from typing import Annotated

import typer


def command(
    once: Annotated[
        bool,
        typer.Option("--once", help="Ask each service, check the answers, and end."),
    ] = False,
    real: Annotated[
        bool, typer.Option("--real", help="On Apache Kafka and PostgreSQL, started here unless configured.")
    ] = False,
) -> None:
    """Run the whole suite on example data until Ctrl-C; what was made is kept in TRILLIUM_HOME."""
    from pipelines.demo import demonstrate

    demonstrate(once=once, real=real)
