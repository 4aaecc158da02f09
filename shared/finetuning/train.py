"""Fine-tune a recipe into a model folder, or export a base as it is."""

import hashlib
import json
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoTokenizer, PreTrainedTokenizerBase, set_seed

from shared.errors import BadInput
from shared.evaluation import classification
from shared.finetuning import bases, calibrate, export, loop, probe
from shared.finetuning.backbone import HeadedModel, load_encoder
from shared.finetuning.bases import Base
from shared.finetuning.examples import Collator, Example, examples, head_specs
from shared.finetuning.hardware import best_precision
from shared.finetuning.recipe import Recipe
from shared.finetuning.rows import Rows, data_hash
from shared.finetuning.validate import Tokenize, pair_rank, validate
from shared.models import selftest
from shared.models.heads import HeadSpec
from shared.models.text_model import TextModel
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
    `recipe.json` (resolved), `curves.json` ({losses: [{step, loss}], epochs: [{step, epoch, score, loss,
    HEAD}]}, epoch 0 being the start) and `evaluation.json` (head -> metrics on validation rows: for
    classify with `labels`, `confusion` counts (true, predicted) and `reliability` bins; for embed `mrr`).
    A killed run, started again with the same recipe and rows, goes on from its last epoch; until it ends
    its checkpoints are in `work` (by default below `home`). Raises BadInput for rows that no head can
    learn from, Diverged for a loss that is no number.
    """
    started = time.monotonic()
    base = bases.resolve(recipe.base, home=home, fetch=True)
    specs = head_specs(recipe, data)
    train, valid = examples(recipe, specs, data, "train"), examples(recipe, specs, data, "valid")
    recipe = _resolved(recipe, base, len(train))
    set_seed(recipe.train.seed)
    if not train:
        raise BadInput("no training row has a text and a target; look at the column names of the recipe")
    model, tokenizer, max_tokens = load(base, recipe, specs)
    # A key of its own: checkpoints of other rows or another recipe are never gone on from.
    key = hashlib.sha256((recipe.hash() + data_hash(data)).encode()).hexdigest()[:16]
    place = (work or home / "work") / key
    tokenize = loop.tokenizing(tokenizer, max_tokens)
    curves = tune(model, tokenize, recipe, train, valid, place, progress=progress)
    served = export.export(model, tokenizer, base, out, max_tokens=max_tokens)
    evaluation = _calibrate(served, out, specs, valid)
    _write(out / "recipe.json", recipe.model_dump(mode="json"))
    _write(out / "curves.json", curves)
    _write(out / "evaluation.json", evaluation)
    shutil.rmtree(place, ignore_errors=True)
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
    model = HeadedModel(
        load_encoder(base.path),
        base.pooling,
        specs,
        recipe.heads,
        label_smoothing=recipe.train.label_smoothing,
        contrast=recipe.train.contrast,
    )
    return model, tokenizer, recipe.train.max_tokens or base.max_tokens


def _resolved(recipe: Recipe, base: Base, rows: int) -> Recipe:
    return recipe.resolved(
        rows=rows, precision=best_precision(), base_sha256=base.sha256, max_tokens=base.max_tokens
    )


def tune(
    model: HeadedModel,
    tokenize: Tokenize,
    recipe: Recipe,
    train: list[Example],
    valid: list[Example],
    work: Path,
    *,
    progress: bool,
) -> dict[str, Any]:
    """Fit the heads, then tune everything as the (resolved) recipe says; returns the curves."""
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    frozen = recipe.method.kind == "frozen"
    keeps = any(head.keep for head in recipe.heads.values()) and not frozen
    labelled = any(spec.labels for spec in model.specs.values())
    precision = "fp32" if frozen else recipe.train.precision
    if keeps or (labelled and (frozen or recipe.train.start == "frozen")):
        vectors = probe.encode(model, tokenize, [e.text for e in train], precision=precision)
        if frozen or recipe.train.start == "frozen":
            probe.fit_heads(model, vectors, train, c=recipe.method.c, seed=recipe.train.seed)
        if keeps:
            train = [replace(e, kept=vector) for e, vector in zip(train, vectors, strict=True)]
    if frozen:
        return {"losses": [], "epochs": []}
    collator = Collator(list(model.specs.values()), tokenize)
    score = (lambda: validate(model, tokenize, valid, recipe.train.precision)) if valid else None
    losses, epochs = loop.fit(model, recipe, train, collator, score, work, progress=progress)
    return {"losses": losses, "epochs": epochs}


def _calibrate(
    served: TextModel, out: Path, specs: list[HeadSpec], valid: list[Example]
) -> dict[str, dict[str, Any]]:
    """Fit temperatures and thresholds on the served outputs, write them, and return the evaluation."""
    heads, evaluation = [], {}
    for spec in specs:
        rows = [example for example in valid if spec.name in example.targets]
        if spec.labels and rows:
            logits = served.logits([row.text for row in rows])[spec.name]
            targets = np.asarray([row.targets[spec.name] for row in rows], np.float64)
            spec = spec.model_copy(update={"temperature": calibrate.temperature(spec, logits, targets)})
            if spec.kind == "multilabel":
                cuts = calibrate.thresholds(spec.decode(logits), targets)
                spec = spec.model_copy(update={"thresholds": cuts})
            evaluation[spec.name] = _evaluate(spec, spec.decode(logits), targets)
        elif rows:
            anchors, pairs = served.embed([r.text for r in rows]), [r.targets[spec.name] for r in rows]
            evaluation[spec.name] = {"rows": len(rows), "mrr": pair_rank(anchors, pairs, served.embed)}
        heads.append(spec)
    export.with_heads(out, heads)
    selftest.check(out, TextModel.open(out).logits)
    return evaluation


def _evaluate(spec: HeadSpec, probabilities: Any, targets: Any) -> dict[str, Any]:
    if spec.kind == "multilabel":
        said = probabilities >= np.asarray(spec.thresholds)
        return {"rows": len(targets), "micro_f1": classification.micro_f1(targets > 0, said)}
    truth = [spec.labels[int(t)] for t in targets]
    said = [spec.labels[int(p)] for p in probabilities.argmax(1)]
    right = np.asarray([t == s for t, s in zip(truth, said, strict=True)])
    confidence = probabilities.max(1).astype(np.float64)
    return {
        "rows": len(truth),
        "labels": spec.labels,
        "accuracy": classification.accuracy(truth, said),
        "macro_f1": classification.macro_f1(truth, said),
        "ece": classification.expected_calibration_error(confidence, right),
        "temperature": spec.temperature,
        "confusion": classification.confusion(truth, said, spec.labels),
        "reliability": classification.reliability(confidence, right),
    }


def _write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=1), "utf-8")
