"""Tune a generator on questions and the best replies to them, and write its complete folder."""

import hashlib
import json
import shutil
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import set_seed

from shared.errors import BadInput
from shared.evaluation.generation import perplexity
from shared.finetuning import processes
from shared.finetuning.generating import bases, folder, loop
from shared.finetuning.generating.encoding import Encoding
from shared.finetuning.generating.examples import Collator, Row, examples, usable
from shared.finetuning.generating.recipe import Generate, rows_hash
from shared.finetuning.generating.scoring import GeneratorScores, measure, reply_losses
from shared.finetuning.generator import Generator
from shared.finetuning.hardware import best_precision
from shared.telemetry import logger

WATCHED = 200  # validation rows that are measured after each epoch
WRITTEN = 48  # validation rows whose reply is written at the end
_LOG = logger(__name__)


@dataclass(frozen=True)
class GenerateReport:
    """What a tuning gave: `metrics` {perplexity, rouge_l} on validation rows (none without any), the
    recipe as resolved, seconds, curves and the validation scores row by row."""

    metrics: dict[str, float]
    recipe: Generate
    recipe_hash: str
    seconds: float
    curves: dict[str, Any] = field(default_factory=dict)
    scores: GeneratorScores | None = None


def finetune_generator(
    recipe_fields: Generate | Mapping[str, Any],
    rows_train: Sequence[Row],
    rows_valid: Sequence[Row],
    out: Path,
    *,
    home: Path,
    work: Path | None = None,
    progress: bool = True,
) -> GenerateReport:
    """Tune a causal or seq2seq model on rows `{question, reply, context?}` and write its folder to `out`.

    The loss is on the reply alone. `out` then holds the Hugging Face files in safetensors (or the adapter
    alone), `generator.json`, `selftest.json`, `recipe.json` (resolved: minutes have become steps),
    `curves.json` ({losses: [{step, loss}], epochs: [{step, epoch, loss, perplexity}]}, step 0 being the
    base) and `evaluation.json` ({rows, perplexity, rouge_l, written, before: {perplexity}}). The best
    epoch on the validation rows counts, be it the start. A killed run, started again with the same recipe
    and rows, goes on from its last checkpoint in `work` (by default below `home`). Under torchrun all
    processes call this; the main one alone writes `out` and has `scores`. Raises BadInput for rows or a
    base that can't be used, Diverged for a loss that is no number.
    """
    started = time.monotonic()
    recipe = recipe_fields if isinstance(recipe_fields, Generate) else Generate.parse(recipe_fields)
    train, valid = usable(rows_train), usable(rows_valid)
    if not train:
        raise BadInput("no training row has a question and a reply; look at the column names")
    processes.begin()
    base = processes.main_first(lambda: bases.resolve(recipe.base, home=home, fetch=True))
    recipe = recipe.resolved(precision=best_precision(), base_sha256=base.sha256, positions=base.positions)
    # A key of its own: checkpoints of other rows or another recipe are never gone on from.
    key = hashlib.sha256((recipe.hash() + rows_hash(train, valid)).encode()).hexdigest()[:16]
    place = (work or home / "work") / key
    made, curves, steps = _tune(recipe, base, train, valid, place, progress=progress)
    if recipe.minutes:
        recipe = recipe.model_copy(update={"steps": steps, "minutes": None})
    scores = _finish(made, recipe, valid, out, home, curves) if processes.main() else None
    metrics = processes.share(lambda: scores.metrics() if scores else {})
    if processes.main():
        shutil.rmtree(place, ignore_errors=True)
    seconds = round(time.monotonic() - started, 1)
    _LOG.info("trained", base=base.name, rows=len(train), steps=steps, seconds=seconds)
    return GenerateReport(metrics, recipe, recipe.hash(), seconds, curves, scores)


def export_generator(base: str, out: Path, *, home: Path, **fields: Any) -> None:
    """Write base `base` as it is as a generator's folder: what tuning is compared with, or served untuned.

    `fields` are those of the recipe that concern lengths.
    """
    found = bases.resolve(base, home=home, fetch=True)
    recipe = Generate.parse({"base": base, **fields}).resolved(
        precision="fp32", base_sha256=found.sha256, positions=found.positions
    )
    made = folder.Made(folder.load(found.path, found.kind), _encoding(found, recipe), found, base, False)
    _finish(made, recipe, [], out, home, {"losses": [], "epochs": []})


def _encoding(base: bases.GeneratorBase, recipe: Generate) -> Encoding:
    tokenizer = folder.load_tokenizer(base.path)
    return Encoding(tokenizer, base.kind, recipe.max_tokens, recipe.max_reply_tokens)


def _tune(
    recipe: Generate,
    base: bases.GeneratorBase,
    train: Sequence[Row],
    valid: Sequence[Row],
    place: Path,
    *,
    progress: bool,
) -> tuple[folder.Made, dict[str, Any], int]:
    encoding = _encoding(base, recipe)
    set_seed(recipe.seed)
    model = folder.load(base.path, base.kind).to("cuda" if torch.cuda.is_available() else "cpu")
    if recipe.method == "lora":
        model = _with_lora(model, recipe, base)
    watched = examples(valid[:: max(1, -(-len(valid) // WATCHED))], encoding)

    def score() -> dict[str, float]:
        nats, tokens = reply_losses(model, encoding, watched, recipe.batch, recipe.precision)
        value = perplexity(nats, tokens)
        return {"loss": float(np.log(value)), "perplexity": value}

    losses, epochs, steps = loop.fit(
        model,
        recipe,
        base.kind,
        examples(train, encoding),
        Collator(encoding, model),
        score if watched else None,
        place,
        progress=progress,
    )
    merged = recipe.method == "lora" and recipe.merge
    made = model.merge_and_unload() if merged else model
    adapter = recipe.method == "lora" and not recipe.merge
    return (
        folder.Made(made, encoding, base, recipe.base, adapter),
        {"losses": losses, "epochs": epochs},
        steps,
    )


def _with_lora(model: Any, recipe: Generate, base: bases.GeneratorBase) -> Any:
    from peft import LoraConfig, TaskType, get_peft_model

    task = TaskType.CAUSAL_LM if base.kind == "causal" else TaskType.SEQ_2_SEQ_LM
    config = LoraConfig(
        task_type=task, r=recipe.rank, lora_alpha=2 * recipe.rank, target_modules="all-linear"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft reads a name that transformers has replaced
        return get_peft_model(model, config)


def _finish(
    made: folder.Made,
    recipe: Generate,
    valid: Sequence[Row],
    out: Path,
    home: Path,
    curves: Mapping[str, Any],
) -> GeneratorScores | None:
    out.mkdir(parents=True, exist_ok=True)
    folder.write(out, made)
    # What was stored is read again: it, and not the model in memory, is tested and measured.
    served = Generator(*folder.read(out, home))
    served.model.to("cuda" if torch.cuda.is_available() else "cpu")
    folder.remember(out, served.foretold)
    scores = measure(served, valid, written=WRITTEN, precision=recipe.precision) if valid else None
    _write(out / "recipe.json", recipe.model_dump(mode="json"))
    _write(out / "curves.json", curves)
    _write(out / "evaluation.json", _evaluation(scores, curves))
    return scores


def _evaluation(scores: GeneratorScores | None, curves: Mapping[str, Any]) -> dict[str, Any]:
    if scores is None:
        return {"rows": 0}
    before = {"perplexity": curves["epochs"][0]["perplexity"]} if curves["epochs"] else {}
    return {
        "rows": len(scores.nats),
        "written": len(scores.written),
        **scores.metrics(),
        "before": before,
    }


def _write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=1), "utf-8")
