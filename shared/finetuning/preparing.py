"""Before a training: rows are copied, replayed, labelled by a first model, answered by teachers."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from shared.finetuning import probe, processes
from shared.finetuning.augmenting.build import augmented
from shared.finetuning.backbone import HeadedModel
from shared.finetuning.beside import Unlabelled
from shared.finetuning.earlier import Earlier
from shared.finetuning.examples import Example
from shared.finetuning.feeding import Feed
from shared.finetuning.outputs import Said, said_by, said_in_training
from shared.finetuning.recipe import Recipe
from shared.finetuning.replay import earlier_examples, replayed
from shared.finetuning.rows import Rows
from shared.finetuning.teaching import lesson, taught_heads, with_lesson
from shared.finetuning.unlabelled import PSEUDO, one_hot, pseudo_labels, texts_of, with_twins
from shared.models.card import ModelCard
from shared.models.heads import FloatArray, HeadSpec
from shared.models.text_model import TextModel
from shared.telemetry import logger

TEACHERS, PREVIOUS = "teachers", "previous"  # lessons
DONE = "evaluation.json"  # the last file of a model folder: a whole one has it
_LOG = logger(__name__)


@dataclass(frozen=True)
class Prepared:
    """Rows to learn from and to validate on, earlier rows that are only measured, and what was done, by part
    of the recipe."""

    train: list[Example]
    valid: list[Example]
    earlier: list[Example]
    told: dict[str, Any]


@dataclass(frozen=True)
class Ground:
    """What a preparation stands on.

    `body` gives the base with fresh heads, ready to encode; `train` tunes a recipe on the same rows into a
    folder and is called only where the recipe wants other models first; they are kept in `place`.
    """

    recipe: Recipe
    specs: Sequence[HeadSpec]
    data: Mapping[str, Rows]
    place: Path
    body: Callable[[], tuple[HeadedModel, Feed]]
    train: Callable[[Recipe, Path], None]

    @cached_property
    def frozen(self) -> tuple[HeadedModel, Feed]:
        """The base as it is, on the device that trains."""
        model, feed = self.body()
        return model.to("cuda" if torch.cuda.is_available() else "cpu"), feed

    def encode(self, texts: Sequence[str]) -> FloatArray:
        """Return the base's unit vectors (n, dim)."""
        return probe.encode(*self.frozen, texts, precision=self.recipe.train.precision)

    def trained(self, recipe: Recipe, name: str) -> Path:
        """Return the folder of a model that is trained first, or was before a kill."""
        folder = self.place / name
        if not processes.share((folder / DONE).is_file):
            processes.share(lambda: shutil.rmtree(folder, ignore_errors=True))
            self.train(recipe, folder)
        return folder


def prepared(ground: Ground, train: Sequence[Example], valid: Sequence[Example]) -> Prepared:
    """Return the rows as the recipe's parts beside its labelled rows want them; without any, as they are.

    In this order: copies of the rows, earlier rows, unlabelled rows; then the previous model and the teachers
    say something of all of them, of validation rows too, which a refit learns.
    """
    recipe, told = ground.recipe, dict[str, Any]()
    rows, kept, earlier = list(train), list(valid), list[Example]()
    if recipe.augment:
        held = [row.text for row in valid]
        copies, told["augment"] = augmented(
            train, ground.specs, recipe.augment, ground.encode, recipe.train.seed, held
        )
        rows += copies
    if recipe.continual and recipe.continual.data:
        earlier = earlier_examples(recipe, ground.specs, recipe.continual.data, ground.data, "train")
        again = replayed(earlier, recipe.continual.replay, recipe.train.seed)
        rows += again
        unseen = earlier_examples(recipe, ground.specs, recipe.continual.data, ground.data, "valid")
        kept += unseen
        told["continual"] = {"earlier": len(earlier), "replayed": len(again), "validated": len(unseen)}
    if recipe.unlabelled:
        extra, told["unlabelled"] = _unlabelled(ground, recipe.unlabelled, train, valid)
        rows += extra
    if recipe.distil and recipe.distil.data:
        extra = texts_of(recipe, recipe.distil.data, ground.data, [row.text for row in (*rows, *kept)])
        rows += extra
        told["distil"] = {"rows": len(extra)}
    rows, kept = _previous(ground, rows, kept)
    rows, kept, told = _taught(ground, rows, kept, told)
    if told:
        _LOG.info("prepared rows", rows=len(rows), **told)
    return Prepared(rows, kept, earlier, told)


def _previous(
    ground: Ground, rows: list[Example], valid: list[Example]
) -> tuple[list[Example], list[Example]]:
    continual = ground.recipe.continual
    if continual is None or not continual.distil:
        return rows, valid
    heads = taught_heads(ground.recipe, ground.specs)
    every, folder = [*rows, *valid], Path(continual.previous)
    said = lesson([folder], heads, every, continual.temperature, partial=True, width=_width(folder))
    found = with_lesson(every, PREVIOUS, said)
    return found[: len(rows)], found[len(rows) :]


def _taught(
    ground: Ground, rows: list[Example], valid: list[Example], told: dict[str, Any]
) -> tuple[list[Example], list[Example], dict[str, Any]]:
    distil = ground.recipe.distil
    if distil is None:
        return rows, valid, told
    folders = [Path(folder) for folder in distil.teachers] or _seeds(ground, distil.seeds)
    heads = taught_heads(ground.recipe, ground.specs)
    every = [*rows, *valid]
    width = ground.frozen[0].width if any(head.kind == "embed" for head in heads) else None
    said = lesson(folders, heads, every, distil.temperature, width=width)
    found = with_lesson(every, TEACHERS, said)
    told = {**told, "distil": {"teachers": len(folders), **told.get("distil", {})}}
    return found[: len(rows)], found[len(rows) :], told


def _seeds(ground: Ground, count: int) -> list[Path]:
    """Train the recipe with the seeds that follow its own; the folders are in `place`."""
    recipe = alone(ground.recipe, distil=None)
    seeds = [recipe.train.seed + n for n in range(1, count + 1)]
    return [ground.trained(recipe.with_(seed=seed), f"teacher-{seed}") for seed in seeds]


def time_share(recipe: Recipe) -> int:
    """Return how many trainings share the minutes of a recipe."""
    first = recipe.unlabelled is not None and "pseudo" in recipe.unlabelled.kinds
    first = first and recipe.unlabelled is not None and recipe.unlabelled.by == "first"
    return 1 + (recipe.distil.seeds if recipe.distil else 0) + int(first)


def alone(recipe: Recipe, **without: None) -> Recipe:
    """Return the recipe of a model that is trained first: without these parts, without a refit."""
    tree = {**recipe.model_dump(), **without}
    minutes = recipe.train.minutes / time_share(recipe) if recipe.train.minutes else None
    tree["train"] = {**tree["train"], "refit": False, "track": [], "minutes": minutes}
    return Recipe.parse(tree)


def _unlabelled(
    ground: Ground, options: Unlabelled, train: Sequence[Example], valid: Sequence[Example]
) -> tuple[list[Example], dict[str, Any]]:
    known = [row.text for row in (*train, *valid)]
    rows = texts_of(ground.recipe, options.data, ground.data, known)
    told: dict[str, Any] = {"rows": len(rows)}
    if "pseudo" in options.kinds:
        said, seen = _first(ground, options, train, rows, valid)
        for spec in ground.specs:
            chosen = [i for i, row in enumerate(valid) if spec.name in row.targets]
            if spec.kind == "classify":
                truth = [int(valid[i].targets[spec.name]) for i in chosen]
                found = pseudo_labels(spec, [seen[i] for i in chosen], truth, said, options)
                told[spec.name] = found.told
                for row, label in zip(found.rows, found.labels, strict=True):
                    lessons = {
                        **rows[row].lessons.get(PSEUDO, {}),
                        spec.name: one_hot(label, len(spec.labels)),
                    }
                    rows[row] = replace(rows[row], lessons={PSEUDO: lessons})
    if "consistency" in options.kinds:
        rows = with_twins(rows, options, ground.recipe.train.seed)
    return [row for row in rows if row.lessons or row.twin is not None], told


def _first(
    ground: Ground,
    options: Unlabelled,
    train: Sequence[Example],
    rows: Sequence[Example],
    valid: Sequence[Example],
) -> tuple[list[Said], list[Said]]:
    """Return what a first model says of the rows and of validation rows."""
    if options.by == "first":
        folder = ground.trained(alone(ground.recipe, unlabelled=None, distil=None), "first")
        model = TextModel.load(folder, engine=ModelCard.read(folder).runtime)
        return said_by(model, rows), said_by(model, valid)
    body, feed = ground.frozen
    vectors = ground.encode([row.text for row in train])
    probe.fit_heads(body, vectors, train, c=ground.recipe.method.c, seed=ground.recipe.train.seed)
    precision = ground.recipe.train.precision
    return said_in_training(body, feed, rows, precision), said_in_training(body, feed, valid, precision)


def _width(folder: Path) -> int:
    return Earlier.read(str(folder)).card.dim
