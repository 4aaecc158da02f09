"""`finetune --task generate`: questions and replies become a model that writes."""

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipelines.tuning.running import MADE_TEST, Made, Place, artifact_name, place_of, plain
from pipelines.tuning.sources import from_files
from pipelines.tuning.tasks import Task
from shared.artifacts.files import write_json
from shared.errors import BadInput
from shared.evaluation.generation import perplexity
from shared.evaluation.resampling import interval
from shared.finetuning import cards
from shared.finetuning.generate import finetune_generator
from shared.finetuning.generating.recipe import Generate, rows_hash
from shared.finetuning.generating.scoring import measure
from shared.finetuning.generator import Generator
from shared.settings import Settings

if TYPE_CHECKING:
    from pipelines.tuning.asking import Asked

BASE = "gemma-3-270m"
MINUTES = 30.0
WRITTEN = 100  # test rows whose reply is written: writing is slow, reading is not


def run(asked: "Asked", task: Task, tree: Mapping[str, Any], settings: Settings) -> Made:
    """Tune a generator and measure it on the test rows: perplexity of replies, ROUGE-L of what it writes."""
    started = time.monotonic()
    train, valid, unseen = ([path] if path else [] for path in (asked.train, asked.valid, asked.test))
    given = from_files(task, "rows", train, valid, unseen, settings.home)
    rows, test = given.data["rows"], given.test["rows"]
    recipe = _recipe(asked, tree)
    name = artifact_name("generate", asked.train)
    with place_of(name, asked.out, settings, rows_hash(rows.train, rows.valid)) as place:
        report = finetune_generator(
            recipe,
            rows.train,
            rows.valid,
            place.path,
            home=settings.home,
            work=settings.home / "work" / "finetune",
        )
        metrics = plain(_measured(place, test, recipe, settings) if test else {})
        seconds = round(time.monotonic() - started, 1)
        place.told(report.recipe_hash, recipe.hash(), metrics, seconds)
        write_json(place.path / MADE_TEST, metrics)
        cards.write(place.path, name)
    return Made(place.name(), "generate", recipe.base, seconds, metrics)


def _measured(place: Place, test: Any, recipe: Generate, settings: Settings) -> dict[str, Any]:
    served = Generator.load(place.path, home=settings.home)
    scores = measure(served, test, written=WRITTEN, precision="fp32")
    return {
        "perplexity": interval(perplexity, scores.nats, scores.tokens),
        "rouge_l": interval(lambda own: float(own.mean()), scores.rouge_l),
    }


def _recipe(asked: "Asked", tree: Mapping[str, Any]) -> Generate:
    known = {"base", "method", "train", "data", "heads", "labels"}
    unknown = sorted(set(tree) - known - set(Generate.model_fields))
    if unknown:
        raise BadInput(
            f"recipe: {unknown[0]} is not a field of a generator's recipe: {', '.join(Generate.model_fields)}"
        )
    fields = {name: value for name, value in tree.items() if name in Generate.model_fields}
    fields.setdefault("base", BASE)
    given = {"base": asked.base, "seed": asked.seed, "minutes": asked.minutes}
    fields |= {name: value for name, value in given.items() if value is not None}
    if not tree:
        fields.setdefault("minutes", MINUTES)
    return Generate.parse(fields)
