"""What must be there before anything starts: three live bundles, made by the commands a user would type."""

from pathlib import Path
from typing import Any

from rich.console import Console

from pipelines.demonstrating.place import SAMPLES, Place
from pipelines.flow import data_hash, step
from shared.artifacts.live import Pointer
from shared.artifacts.store import ArtifactStore

S = str(SAMPLES)
COMMANDS: dict[str, list[str]] = {
    "support: fine-tune on resolved tickets": [
        *("train", "support", "--tickets", f"{S}/support/tickets.csv"),
    ],
    "support: index the help centre": [
        *("index", "support", f"{S}/support/articles"),
    ],
    "sentiment: fine-tune on labelled headlines": [
        *("train", "sentiment", "--data", f"{S}/sentiment/train.csv"),
    ],
    "recommender: fine-tune on items and behaviour": [
        *("train", "recommender", "--items", f"{S}/recommender/items.csv"),
        *("--events", f"{S}/recommender/events.csv"),
    ],
}
FILLS_TABLES = ("index support", "train recommender")


def prepare(place: Place, console: Console) -> dict[str, dict[str, Any]]:
    """Run the commands that are not done yet in this home and database; returns their results by title.

    A command that was killed goes on where it was, since its flow keeps finished steps. One whose
    example data changed, or whose bundle is no longer live, runs again.
    """
    results = {}
    for number, (title, arguments) in enumerate(COMMANDS.items(), 1):
        console.print(f"[bold]{number}/{len(COMMANDS)}[/bold] {title}")
        results[title], skipped = _command(place, arguments)
        console.print(f"    {'already there' if skipped else 'done'}: {results[title]['artifact']}")
    return results


def _command(place: Place, arguments: list[str]) -> tuple[dict[str, Any], bool]:
    verb, app = arguments[:2]
    # Models are files; documents, items and events are rows, which another database lacks.
    database = place.settings().database.url if f"{verb} {app}" in FILLS_TABLES else None
    work = place.home / "work" / ("demo-server" if database else "demo")
    if Pointer(ArtifactStore(place.home / "artifacts"), app).current() is None:
        (work / f"{verb}-{app}.json").unlink(missing_ok=True)
    key = {"data": data_hash(*_files(arguments)), "database": database}
    done = step(work, f"{verb}-{app}", key, lambda _folder: place.run(*arguments))
    return done.result, done.skipped


def _files(arguments: list[str]) -> list[Path]:
    given = [Path(one) for one in arguments if one.startswith(S)]
    return [
        file
        for path in given
        for file in ([path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file()))
    ]
