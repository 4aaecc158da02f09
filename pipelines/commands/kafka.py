"""Prepare or run a real Apache Kafka broker on this machine."""

import signal
import sys
from typing import Annotated

import typer

from shared.errors import TrilliumError, Unavailable
from shared.settings import load_settings

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Prepare or run a real Apache Kafka broker on this machine.",
)
SAID = """Apache Kafka at {bootstrap}; its records are kept in {folder}
Tell the other commands where it is:

  export TRILLIUM_KAFKA__BOOTSTRAP={bootstrap}

Ctrl-C stops it."""


@app.command()
def prepare() -> None:
    """Bring Kafka's jars when they are missing; says what to install where that can't be done."""
    from shared.stream import kafka_jars

    print(f"Kafka's jars are in {kafka_jars.prepare(load_settings().home)}")


@app.command()
def start(
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 9092,
) -> None:
    """Run the broker in the foreground until Ctrl-C or SIGTERM, and stop it cleanly."""
    from shared.stream.kafka_jars import prepare as bring
    from shared.stream.kafka_local import LocalKafka

    home = load_settings().home
    libs = bring(home)
    signal.signal(signal.SIGTERM, _interrupt)
    folder = home.absolute() / "kafka" / "broker"
    with LocalKafka(libs, folder, port) as kafka:
        print(SAID.format(bootstrap=kafka.bootstrap, folder=folder), flush=True)
        try:
            code = kafka.wait()
        except KeyboardInterrupt:
            print("stopping Kafka", file=sys.stderr)
            return
        raise Unavailable(f"Kafka ended by itself with exit code {code}; see {kafka.log}")


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def main() -> None:
    """Run as `python -m pipelines.commands.kafka`, for make."""
    try:
        app(standalone_mode=False)
    except KeyboardInterrupt:
        sys.exit(130)
    except TrilliumError as error:
        print(f"error: {error.detail}", file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
