"""Fine-tune a recipe into a model folder, or export a base as it is."""

import hashlib
import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer, PreTrainedTokenizerBase, set_seed

from shared.errors import BadInput
from shared.finetuning import bases, cloze, depth, export, probe, processes, word_head
from shared.finetuning.attention import spare_long_texts
from shared.finetuning.backbone import HeadedModel, load_encoder
from shared.finetuning.bases import Base
from shared.finetuning.earlier import Earlier
from shared.finetuning.evaluate import calibrate_served
from shared.finetuning.examples import Example, examples, head_specs
from shared.finetuning.feeding import Feed
from shared.finetuning.hardware import best_precision, quicken_fp32
from shared.finetuning.keep import BEST, LAST
from shared.finetuning.label_names import named_examples
from shared.finetuning.methods.bodies import length
from shared.finetuning.methods.stored import settle
from shared.finetuning.methods.technique import Technique
from shared.finetuning.outputs import said_in_training
from shared.finetuning.preparing import Ground, prepared
from shared.finetuning.progress import bars
from shared.finetuning.recipe import Recipe
from shared.finetuning.refit import refitted
from shared.finetuning.rehearsing import rehearsed
from shared.finetuning.replay import known_labels
from shared.finetuning.reporting import STEPS, check_trackers
from shared.finetuning.rows import Rows, data_hash
from shared.finetuning.tuning import tune
from shared.models.heads import HeadSpec
from shared.telemetry import logger

_LOG = logger(__name__)


@dataclass(frozen=True)
class TrainReport:
    """What a training gave: validation metrics by head, the recipe as resolved, seconds, curves, and what was
    done to the rows before, by part of the recipe."""

    metrics: dict[str, Any]
    recipe: Recipe
    recipe_hash: str
    seconds: float
    curves: dict[str, Any] = field(default_factory=dict)
    prepared: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Opened:
    """A training about to begin: its base, heads and examples, rows that were learnt before, the resolved
    recipe, the model with fresh heads, the folder under which it is gone on with, and what was prepared."""

    base: Base
    specs: list[HeadSpec]
    train: list[Example]
    valid: list[Example]
    earlier: list[Example]
    recipe: Recipe
    model: HeadedModel
    feed: Feed
    place: Path
    told: dict[str, Any]

    def tune(
        self, *, tracking: Path | None = None, progress: bool, watchers: Sequence[Technique] = ()
    ) -> tuple[Recipe, dict[str, Any]]:
        """Rehearse, then tune the model in place; returns the recipe with what the rehearsal told, and the
        curves."""
        model, feed, train, valid = self.model, self.feed, self.train, self.valid
        recipe = rehearsed(self.recipe, model, feed, train, len(valid), self.place)
        curves = tune(
            model,
            feed,
            recipe,
            train,
            valid,
            self.place,
            earlier=self.earlier,
            tracking=tracking,
            progress=progress,
            watchers=watchers,
        )
        if recipe.train.blend == "auto":
            settled = recipe.train.model_copy(update={"blend": curves.get("blend", 1.0)})
            recipe = recipe.model_copy(update={"train": settled})
        if recipe.method.c == "auto":
            method = recipe.method.model_copy(update={"c": curves.get("c", probe.C)})
            recipe = recipe.model_copy(update={"method": method})
        return recipe, curves


def open_training(
    recipe: Recipe, data: Mapping[str, Rows], *, home: Path, work: Path, progress: bool
) -> Opened:
    """Read the rows, settle what "auto" left open, prepare, seed and load; raises BadInput for rows that no
    head can learn from. What goes on after a kill is in a folder of `work` of its own."""
    before = Earlier.read(recipe.continual.previous) if recipe.continual else None
    base = (
        before.base(home)
        if before
        else processes.main_first(lambda: bases.resolve(recipe.base, home=home, fetch=True))
    )
    specs = head_specs(recipe, data, known_labels(recipe, before, data))
    train, valid = examples(recipe, specs, data, "train"), examples(recipe, specs, data, "valid")
    if not train:
        raise BadInput("no training row has a text and a target; look at the column names of the recipe")
    train += named_examples(recipe, specs)
    recipe = _resolved(recipe, base, len(train))
    if recipe.method.depth == "auto":
        recipe = _at_depth(recipe, base, specs, train)
    base = depth.pooled(base, recipe.method.depth)
    # A key of its own: checkpoints of other rows or another recipe are never gone on from.
    place = work / hashlib.sha256((recipe.hash() + data_hash(data)).encode()).hexdigest()[:16]

    def first(asked: Recipe, folder: Path) -> None:
        finetune(asked, data, folder, home=home, work=place / "first", progress=progress)

    def body() -> tuple[HeadedModel, Feed]:
        loaded, tokenizer, longest = load(base, recipe, specs)
        return loaded, Feed(tokenizer, longest, types=loaded.typed and recipe.pairs)

    ready = prepared(Ground(recipe, specs, data, place, body, first), train, valid)
    set_seed(recipe.train.seed)
    model, feed = body()
    return Opened(
        base, specs, ready.train, ready.valid, ready.earlier, recipe, model, feed, place, ready.told
    )


def finetune(
    recipe: Recipe,
    data: Mapping[str, Rows],
    out: Path,
    *,
    home: Path,
    work: Path | None = None,
    progress: bool = True,
) -> TrainReport:
    """Tune the recipe's base on `data` (name -> rows) and write the complete model folder into `out`.

    `out` then holds the Hugging Face files, the heads, `onnx/`, `model.json`, `selftest.json`,
    `recipe.json` (resolved), `steps.jsonl` (a line per log of the training), `curves.json` ({losses: [{step,
    loss}], epochs: [{step, epoch, score, loss, HEAD}]}, epoch 0 being the start) and `evaluation.json`
    (head -> what `evaluate.calibrate_served` gives); where rows were copied, replayed or taught also
    `prepared.json`, which counts them by part of the recipe.
    A killed run, started again with the same recipe and rows, goes on from its last epoch; until it ends
    its checkpoints are in `work` (by default below `home`). Under torchrun all processes call this; the
    main one alone writes `out`. Raises BadInput for rows that no head can learn from, Diverged for a loss
    that is no number.
    """
    processes.begin()
    with bars(progress and processes.main()):
        return _finetuned(recipe, data, out, home=home, work=work or home / "work", progress=progress)


def _finetuned(
    recipe: Recipe, data: Mapping[str, Rows], out: Path, *, home: Path, work: Path, progress: bool
) -> TrainReport:
    started = time.monotonic()
    check_trackers(recipe.train.track)
    opened = open_training(recipe, data, home=home, work=work, progress=progress)
    base, specs, feed, place = opened.base, opened.specs, opened.feed, opened.place
    train, valid, model = opened.train, opened.valid, opened.model
    recipe, curves = opened.tune(tracking=home / "tracking" / place.name, progress=progress)
    if recipe.train.fsdp:  # its weights lie spread over the processes: begin anew with those that were kept
        model = load(base, recipe, specs)[0]
        model.load_state_dict(load_file(place / (BEST if valid else LAST)))
    held, method = None, recipe.method
    if recipe.train.refit and valid:
        held = said_in_training(model, feed, valid)
        again = refitted(recipe, curves, train, valid)
        set_seed(recipe.train.seed)
        model, method = load(base, again, specs)[0], again.method
        rows = [*train, *valid]
        tune(model, feed, again, rows, [], place / "refit", earlier=opened.earlier, progress=progress)

    def write() -> dict[str, dict[str, Any]]:
        model.encoder = settle(model.encoder, method, base, out)
        served = export.export(model, feed.tokenizer, base, out, max_tokens=feed.max_tokens)
        found = calibrate_served(served, out, valid, held)
        _write(out / "recipe.json", recipe.model_dump(mode="json"))
        _write(out / "curves.json", curves)
        if opened.told:
            _write(out / "prepared.json", opened.told)
        _write(out / "evaluation.json", found)
        if (place / STEPS).is_file():
            shutil.copy(place / STEPS, out / STEPS)
        shutil.rmtree(place, ignore_errors=True)
        return found

    processes.wait()  # until all have read what was kept; then it goes
    evaluation = processes.share(write)
    seconds = round(time.monotonic() - started, 1)
    metrics = {
        name: {k: v for k, v in rows.items() if isinstance(v, float)} for name, rows in evaluation.items()
    }
    _LOG.info("trained", base=base.name, rows=len(train), seconds=seconds)
    return TrainReport(metrics, recipe, recipe.hash(), seconds, curves, opened.told)


def export_frozen(base: str, out: Path, *, home: Path) -> None:
    """Write base `base` as a model folder with an embed head only; fetches it when it is not here."""
    found = bases.resolve(base, home=home, fetch=True)
    recipe = _resolved(Recipe.parse({"base": base, "heads": {"embed": {"kind": "embed"}}}), found, 0)
    model, tokenizer, max_tokens = load(found, recipe, [HeadSpec(name="embed", kind="embed")])
    export.export(model, tokenizer, found, out, max_tokens=max_tokens)
    _write(out / "recipe.json", recipe.model_dump(mode="json"))


def load(
    base: Base, recipe: Recipe, specs: list[HeadSpec]
) -> tuple[HeadedModel, PreTrainedTokenizerBase, int]:
    """Return the base with fresh heads, its tokenizer, and the length in tokens at which texts are cut."""
    quicken_fp32()
    tokenizer = AutoTokenizer.from_pretrained(base.path, local_files_only=True)
    encoder = load_encoder(base.path)
    if isinstance(recipe.method.depth, int):
        depth.cut(encoder, recipe.method.depth)
    spare_long_texts(encoder)
    longest = length(encoder, recipe.method, recipe.train.max_tokens or base.max_tokens)
    around = cloze.frame(tokenizer, recipe.cloze.template) if recipe.cloze else None
    model = HeadedModel(
        encoder,
        base.pooling,
        specs,
        recipe.heads,
        label_smoothing=recipe.train.label_smoothing,
        contrast=recipe.train.contrast,
        gap=around.at if around else None,
    )
    for spec in specs:
        if spec.kind == "mlm" and (known := word_head.stored(base.path)):
            word_head.remember(model.heads[spec.name], known)
    if recipe.cloze and around:
        begun = cloze.begin(model, base, recipe.cloze, tokenizer)
        model.inherited.update(begun if recipe.method.kind != "frozen" else ())
        cloze.put(tokenizer, around, longest)
    if recipe.continual:
        Earlier.read(recipe.continual.previous).heads_into(model)
    return model, tokenizer, longest


def _resolved(recipe: Recipe, base: Base, rows: int) -> Recipe:
    settled: dict[str, Any] = {}
    if recipe.distil and recipe.distil.teachers:
        told = [Earlier.read(folder).sha256 for folder in recipe.distil.teachers]
        settled["distil"] = recipe.distil.model_copy(update={"teachers_sha256": told})
    if recipe.continual:
        told_sha = Earlier.read(recipe.continual.previous).sha256
        settled["continual"] = recipe.continual.model_copy(update={"previous_sha256": told_sha})
        settled["base"] = base.name
    return recipe.model_copy(update=settled).resolved(
        rows=rows, precision=best_precision(), base_sha256=base.sha256, max_tokens=base.max_tokens
    )


def _at_depth(recipe: Recipe, base: Base, specs: list[HeadSpec], train: Sequence[Example]) -> Recipe:
    """Return the recipe with the number of layers that "auto" stands for; an earlier model keeps its own."""

    def at(number: int | None) -> Recipe:
        return recipe.model_copy(update={"method": recipe.method.model_copy(update={"depth": number})})

    if recipe.continual:
        return at(None)
    model, tokenizer, longest = load(replace(base, pooling="mean"), at(None), specs)
    feed = Feed(tokenizer, longest, types=model.typed and recipe.pairs)
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    seed, precision = recipe.train.seed, recipe.train.precision
    return at(depth.best(model, feed, train, seed=seed, precision=str(precision)))


def _write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=1), "utf-8")
