"""From a recipe and its rows to the best recipe of its search space, kept beside a report."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.tuning.asking import Asked, read, search_table
from pipelines.tuning.recipe_file import as_file
from shared.artifacts.files import write_aside, write_json
from shared.errors import Conflict, UsageError
from shared.finetuning.search import search
from shared.finetuning.space import default_space, parse_space
from shared.finetuning.tried import Found
from shared.settings import Settings, load_settings


@dataclass(frozen=True)
class Searched:
    """The files that were written and what the search found, with the seconds of this call."""

    recipe: Path
    report: Path
    found: Found
    seconds: float

    def told(self) -> dict[str, Any]:
        """Return it as JSON has it: `{recipe, report, seconds, best, spread, importance, trials}`."""
        files = {"recipe": str(self.recipe), "report": str(self.report)}
        return {**files, "seconds": self.seconds, **self.found.told()}


def carry_out(
    asked: Asked, out: Path, trials: int, minutes: float | None, settings: Settings | None = None
) -> Searched:
    """Search what the recipe's `[search]` names, else `default_space`, and write the best recipe to `out`.

    Beside it lie `NAME.journal`, from which a search goes on, and `NAME.search.json`. Test files are not
    read; they are named in the recipe that is written. Raises UsageError, Conflict for an `out` that no
    search wrote, and what `parse_space` and `search` raise.
    """
    started = time.monotonic()
    settings = settings or load_settings()
    journal, report = out.with_suffix(".journal"), out.with_suffix(".search.json")
    if asked.recipe is not None and out.absolute() == asked.recipe.absolute():
        raise UsageError(f"--out would replace the recipe {out}; give another file")
    if out.exists() and not journal.exists():
        raise Conflict(f"{out} is there and no search wrote it; give a new file")
    ready = read(asked, settings, test=False)
    table = search_table(asked.recipe)
    space = default_space(ready.recipe) if table is None else parse_space(table, ready.recipe)
    out.absolute().parent.mkdir(parents=True, exist_ok=True)
    found = search(
        ready.recipe,
        space,
        ready.given.data,
        trials=trials,
        journal=journal,
        home=settings.home,
        seed=asked.seed or 0,
        minutes=minutes,
    )
    best = found.best
    note = f"The best of {len(found.trials)} trials: validation score {best.score:.4f} (trial {best.number})."
    write_aside(out, as_file(found.recipe, best.fields, note).encode())
    write_json(report, found.told(), indent=1)
    return Searched(out, report, found, round(time.monotonic() - started, 1))
