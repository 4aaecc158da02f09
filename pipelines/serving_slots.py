"""The engines that a new model of an application is served with, chosen before anything is measured on it."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.flow import Workplace, step
from shared.finetuning.recipe import Recipe
from shared.models import openvino_engine
from shared.models.card import GRAPH, TOKENIZER, ModelCard
from shared.models.engines import usable_cores
from shared.telemetry import logger

if TYPE_CHECKING:
    from shared.finetuning.drift import Sample

TEXTS = 500  # that engines are measured on
FEWEST = 20  # with fewer, the texts that `compress` makes up tell more
SECONDS = 10.0  # for measuring their speed
_LOG = logger(__name__)

Rows = Sequence[Mapping[str, Any]]


def with_slots(
    place: Workplace, recipe: Recipe, folder: Path, data: str, text: str, valid: Rows, train: Rows
) -> Path:
    """Return the folder of what `trillium compress` makes of the model in `folder`, where the recipe has a
    table `[compress]`; else, and for a model without a graph, `folder` itself.

    What may be lost is measured on validation rows with their labels, and on training rows beside them;
    `text` is the column of the text. `data` is the hash of the rows: a finished choice is taken up again
    on a machine with as many cores and the same engines. Raises as `compress` does.
    """
    asked = recipe.compress
    if asked is None:
        return folder
    if not all((folder / name).is_file() for name in (GRAPH, TOKENIZER)):
        _LOG.warning("a model that torch alone serves has no other engines", model=str(folder))
        return folder

    def make(out: Path) -> None:
        from pipelines.tuning.shrinking import compressed, plan_of
        from shared.finetuning.drift import Sample

        shutil.rmtree(out)  # compress makes its folder whole or not at all; a killed run may have packed it
        sample = _sample(ModelCard.read(folder), recipe, text, valid, train)
        plan = plan_of(asked, Sample([str(row[text]) for row in train]))
        aside = place.work / "shrink"
        made = compressed(folder, out, plan, sample, limit=asked.limit, work=aside, seconds=SECONDS)
        for name, slot in made.slots.items():
            _LOG.info("engine chosen", slot=name, engine=slot.engine, precision=slot.precision)

    here = {"cores": usable_cores(), "openvino": openvino_engine.installed()}
    return step(place.work, "compressed", {"recipe": recipe.hash(), "data": data, **here}, make).folder


def _sample(card: ModelCard, recipe: Recipe, text: str, valid: Rows, train: Rows) -> "Sample | None":
    from shared.finetuning.drift import Sample

    heads = {head.name: head for head in card.heads if head.kind in ("classify", "multilabel")}
    target = {name: recipe.heads[name].target for name in heads}

    def is_known(row: Mapping[str, Any]) -> bool:
        return all(h.kind != "classify" or row[target[name]] in h.labels for name, h in heads.items())

    # A label that training never had can't be marked: such rows tell of their text alone.
    known = [row for row in valid if is_known(row)][:TEXTS]
    rows = [*known, *(row for row in valid if not is_known(row)), *train]
    if len(rows) < FEWEST:
        return None
    truth: dict[str, Any] = {}
    for name, head in heads.items() if known else ():
        given = [row[target[name]] for row in known]
        many = head.kind == "multilabel"
        truth[name] = [[one for one in row if one in head.labels] for row in given] if many else given
    return Sample([str(row[text]) for row in rows[:TEXTS]], truth=truth)
