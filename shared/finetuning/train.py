"""Fine-tune a recipe into a model folder, or export a base as it is."""

import copy
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
from shared.finetuning import bases, export, loop, probe, processes
from shared.finetuning.backbone import HeadedModel, load_encoder
from shared.finetuning.bases import Base
from shared.finetuning.collate import Collator, masker
from shared.finetuning.evaluate import calibrate_served
from shared.finetuning.examples import Example, examples, head_specs
from shared.finetuning.feeding import Feed
from shared.finetuning.hardware import best_precision
from shared.finetuning.keep import BEST, LAST
from shared.finetuning.label_names import named_examples
from shared.finetuning.methods.bodies import length
from shared.finetuning.methods.build import techniques
from shared.finetuning.methods.stored import settle
from shared.finetuning.methods.technique import Technique
from shared.finetuning.options import PROMPTED
from shared.finetuning.outputs import said_in_training
from shared.finetuning.pace import paced
from shared.finetuning.rate_test import with_rate
from shared.finetuning.recipe import Recipe
from shared.finetuning.refit import refitted
from shared.finetuning.reporting import STEPS, check_trackers
from shared.finetuning.rows import Rows, data_hash
from shared.finetuning.validate import validate
from shared.models.heads import HeadSpec
from shared.telemetry import logger

_LOG = logger(__name__)


@dataclass(frozen=True)
class TrainReport:
    """What a training gave: validation metrics by head, the recipe as resolved, seconds, curves."""

    metrics: dict[str, Any]
    recipe: Recipe
    recipe_hash: str
    seconds: float
    curves: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Opened:
    """A training about to begin: its base, heads and examples, the resolved recipe, the model with fresh
    heads, and the key of recipe and rows under which it is gone on with."""

    base: Base
    specs: list[HeadSpec]
    train: list[Example]
    valid: list[Example]
    recipe: Recipe
    model: HeadedModel
    feed: Feed
    key: str


def open_training(recipe: Recipe, data: Mapping[str, Rows], *, home: Path) -> Opened:
    """Read the rows, settle what "auto" left open, seed and load; raises BadInput for rows that no head can
    learn from."""
    base = processes.main_first(lambda: bases.resolve(recipe.base, home=home, fetch=True))
    specs = head_specs(recipe, data)
    train, valid = examples(recipe, specs, data, "train"), examples(recipe, specs, data, "valid")
    if not train:
        raise BadInput("no training row has a text and a target; look at the column names of the recipe")
    train += named_examples(recipe, specs)
    recipe = _resolved(recipe, base, len(train))
    set_seed(recipe.train.seed)
    model, tokenizer, max_tokens = load(base, recipe, specs)
    feed = Feed(tokenizer, max_tokens, types=model.typed and recipe.pairs)
    # A key of its own: checkpoints of other rows or another recipe are never gone on from.
    key = hashlib.sha256((recipe.hash() + data_hash(data)).encode()).hexdigest()[:16]
    return Opened(base, specs, train, valid, recipe, model, feed, key)


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
    (head -> what `evaluate.calibrate_served` gives).
    A killed run, started again with the same recipe and rows, goes on from its last epoch; until it ends
    its checkpoints are in `work` (by default below `home`). Under torchrun all processes call this; the
    main one alone writes `out`. Raises BadInput for rows that no head can learn from, Diverged for a loss
    that is no number.
    """
    started = time.monotonic()
    processes.begin()
    check_trackers(recipe.train.track)
    opened = open_training(recipe, data, home=home)
    base, specs, recipe, feed = opened.base, opened.specs, opened.recipe, opened.feed
    train, valid, model = opened.train, opened.valid, opened.model
    place = (work or home / "work") / opened.key
    recipe = rehearsed(recipe, model, feed, train, len(valid), place)
    curves = tune(
        model, feed, recipe, train, valid, place, tracking=home / "tracking" / opened.key, progress=progress
    )
    if recipe.train.fsdp:  # its weights lie spread over the processes: begin anew with those that were kept
        model = load(base, recipe, specs)[0]
        model.load_state_dict(load_file(place / (BEST if valid else LAST)))
    held, method = None, recipe.method
    if recipe.train.refit and valid:
        held = said_in_training(model, feed, valid)
        again = refitted(recipe, curves, train, valid)
        set_seed(recipe.train.seed)
        model, method = load(base, again, specs)[0], again.method
        tune(model, feed, again, [*train, *valid], [], place / "refit", progress=progress)

    def write() -> dict[str, dict[str, Any]]:
        model.encoder = settle(model.encoder, method, base, out)
        served = export.export(model, feed.tokenizer, base, out, max_tokens=feed.max_tokens)
        found = calibrate_served(served, out, valid, held)
        _write(out / "recipe.json", recipe.model_dump(mode="json"))
        _write(out / "curves.json", curves)
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
    return TrainReport(metrics, recipe, recipe.hash(), seconds, curves)


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
    torch.set_float32_matmul_precision("medium")  # through oneDNN: a third faster, no difference in results
    tokenizer = AutoTokenizer.from_pretrained(base.path, local_files_only=True)
    encoder = load_encoder(base.path)
    model = HeadedModel(
        encoder,
        base.pooling,
        specs,
        recipe.heads,
        label_smoothing=recipe.train.label_smoothing,
        contrast=recipe.train.contrast,
    )
    _remember_words(model, base)
    return model, tokenizer, length(encoder, recipe.method, recipe.train.max_tokens or base.max_tokens)


def _remember_words(model: HeadedModel, base: Base) -> None:
    """Begin pre-training with the head of hidden words that an earlier one left with the base."""
    for spec in model.specs.values():
        file = base.path / export.HIDDEN_WORDS
        if spec.kind == "mlm" and file.is_file():
            weights = {name.split(".", 1)[1]: weight for name, weight in load_file(file).items()}
            model.heads[spec.name].load_state_dict(weights, strict=False)  # next_sentence may be new, or gone


def _resolved(recipe: Recipe, base: Base, rows: int) -> Recipe:
    return recipe.resolved(
        rows=rows, precision=best_precision(), base_sha256=base.sha256, max_tokens=base.max_tokens
    )


def rehearsed(
    recipe: Recipe, model: HeadedModel, feed: Feed, train: list[Example], valid: int, work: Path
) -> Recipe:
    """Return the (resolved) recipe with what a rehearsal alone can tell: the number of rate "auto", and how
    many steps fit into `minutes` beside `valid` validation rows. `work` keeps both; the model stays."""
    collate = _collator(model, feed)
    if recipe.train.rate == "auto":
        recipe = with_rate(
            recipe, model, collate, train, work, lambda *own: _started(own[0], feed, own[1], train, own[2])
        )
    whole = loop.total_steps(len(train), recipe.train)
    return paced(recipe, model, collate, train, valid, whole, work)


def _collator(model: HeadedModel, feed: Feed) -> Collator:
    hide = masker(feed.tokenizer) if any(s.kind == "mlm" for s in model.specs.values()) else None
    return Collator(list(model.specs.values()), feed, hide)


def tune(
    model: HeadedModel,
    feed: Feed,
    recipe: Recipe,
    train: list[Example],
    valid: list[Example],
    work: Path,
    *,
    tracking: Path | None = None,
    progress: bool,
    watchers: Sequence[Technique] = (),
) -> dict[str, Any]:
    """Fit the heads, then tune as the (resolved) recipe says; returns the curves.

    `watchers` come behind the recipe's own techniques."""
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    parts = [*techniques(recipe, steps=loop.total_steps(len(train), recipe.train)), *watchers]
    try:
        train = _started(model, feed, recipe, train, parts)
        if recipe.method.kind == "frozen":
            return {"losses": [], "epochs": []}
        start = copy.deepcopy(model.state_dict()) if recipe.train.blend < 1 else {}
        losses, epochs = loop.fit(
            model,
            recipe,
            train,
            _collator(model, feed),
            (lambda: validate(model, feed, valid, recipe.train.precision)) if valid else None,
            work,
            techniques=parts,
            tracking=tracking,
            progress=progress,
        )
        _blend(model, start, recipe.train.blend)
    finally:
        for part in parts:
            part.finish(model)
    return {"losses": losses, "epochs": epochs}


def _blend(model: HeadedModel, start: Mapping[str, torch.Tensor], share: float) -> None:
    """Set the model's weights to `share` of themselves and the rest of `start`, where that has any."""
    with torch.no_grad():
        for name, own in model.state_dict().items():
            if name in start and own.is_floating_point():
                own.lerp_(start[name].to(own.device), 1 - share)


def _started(
    model: HeadedModel, feed: Feed, recipe: Recipe, train: list[Example], parts: list[Technique]
) -> list[Example]:
    """Prepare the model, fit its heads, and give the rows the base's vectors where a head keeps near them."""
    frozen = recipe.method.kind == "frozen"
    precision = "fp32" if frozen else recipe.train.precision
    texts = [example.text for example in train]
    keeps = any(head.keep for head in recipe.heads.values()) and not frozen
    fits = any(s.kind in probe.FITTED for s in model.specs.values())
    fits = fits and (frozen or recipe.train.start == "frozen")
    # Vectors before the text change the body's from the start; other methods begin as the base.
    prompted = recipe.method.kind in PROMPTED
    vectors = None
    if keeps or (fits and not prompted):
        vectors = probe.encode(model, feed, texts, precision=precision)
    if keeps and vectors is not None:
        train = [replace(e, kept=vector) for e, vector in zip(train, vectors, strict=True)]
    for part in parts:
        part.prepare(model, recipe)
    if fits:
        if vectors is None or prompted:
            vectors = probe.encode(model, feed, texts, precision=precision)
        probe.fit_heads(model, vectors, train, c=recipe.method.c, seed=recipe.train.seed)
    return train


def _write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=1), "utf-8")
