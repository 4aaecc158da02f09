"""A smaller model folder out of a tuned one, measured against it and refused beyond a limit."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from transformers import AutoTokenizer, PreTrainedTokenizerBase, set_seed

from shared.artifacts.files import write_json
from shared.errors import BadInput, Conflict
from shared.finetuning import bases, drift, export
from shared.finetuning.backbone import HeadedModel
from shared.finetuning.drift import Sample
from shared.finetuning.examples import Example
from shared.finetuning.feeding import Feed
from shared.finetuning.hardware import best_precision
from shared.finetuning.methods.stored import graphless
from shared.finetuning.recipe import Recipe, auto_epochs
from shared.finetuning.sample_texts import sample_texts
from shared.finetuning.shrink import layers, vocabulary
from shared.finetuning.shrink.zeros import zero_smallest
from shared.finetuning.torch_engine import load_model
from shared.models.card import TOKENIZER, ModelCard
from shared.models.heads import PAIRED
from shared.models.reference import FILE as REFERENCE
from shared.models.text_model import TextModel
from shared.telemetry import logger

FILE = "shrink.json"
RATE = 1e-4  # of body and heads alike: the heads are tuned already
# What tells of the data and of what was asked stays true; figures of the original do not.
_CARRIED = ("recipe.json", "data.json")
_LOG = logger(__name__)


@dataclass(frozen=True)
class Plan:
    """How a model becomes smaller: the `layers` to keep, whether unused words go, and the share of weights
    that become 0. `texts` (and `pairs` for heads that read two) are what is distilled on, and whose words are
    kept. `epochs` None takes 4 to 10 by their number."""

    layers: tuple[int, ...] = ()
    vocabulary: bool = False
    zeros: float = 0.0
    texts: tuple[str, ...] = ()
    pairs: tuple[str, ...] | None = None
    epochs: int | None = None
    seed: int = 0

    @property
    def empty(self) -> bool:
        """Whether nothing was asked for."""
        return not (self.layers or self.vocabulary or self.zeros)


def shrink(
    folder: Path,
    out: Path,
    plan: Plan,
    sample: Sample | None = None,
    *,
    limit: float | None,
    work: Path,
    progress: bool = True,
) -> dict[str, Any]:
    """Write the smaller model into `out`, new or empty, and return what was measured, which `shrink.json`
    keeps: `{parameters, layers?, distance?, tokens?, zeros?, heads: {NAME: {metric, loss, …}}, judged,
    within}`, parameters and tokens as [before, after].

    Losses are those of `drift.judge` against the model in `folder`, on `sample`, else on made-up texts. A
    vector that merely comes along with what was learnt is measured and not judged: vectors of two models
    never meet. Raises Conflict where a judged head loses more than `limit`, BadInput for what can't be made
    smaller.
    """
    card = ModelCard.read(folder)
    original = load_model(folder)
    _check(card, original, plan)
    base = replace(bases.resolve(str(folder), home=work), name=card.base, pooling=card.pooling)
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = load_model(folder)
    told: dict[str, Any] = {"parameters": [_parameters(original)]}
    if plan.layers:
        layers.drop(model, plan.layers)
        told |= {
            "layers": list(plan.layers),
            "distance": _taught(model, original, tokenizer, card, plan, work, progress),
        }
    if plan.vocabulary:
        tokenizer, told["tokens"] = _fewer_words(model, folder, plan, work / "tokenizer")
    if plan.zeros:
        told["zeros"] = round(zero_smallest(model.encoder, plan.zeros), 4)
    told["parameters"].append(_parameters(model))
    served = export.export(model, tokenizer, base, out, max_tokens=card.max_tokens)
    _carry(folder, out, card, plan)
    told |= _judged(folder, served, sample, limit)
    write_json(out / FILE, told, indent=1)
    return told


def _check(card: ModelCard, model: HeadedModel, plan: Plan) -> None:
    if graphless(model.encoder):
        raise BadInput(
            "trained vectors stand before this model's texts; what has no graph can't be made smaller"
        )
    if card.out_of_scope is not None and plan.layers:
        raise BadInput(
            "this model refuses foreign texts by their vectors, which fewer layers move; compress it without "
            "--layers"
        )
    if (plan.layers or plan.vocabulary) and len(plan.texts) < 20:
        raise BadInput(f"{len(plan.texts)} texts are too few to learn or count words on; give at least 20")


def _parameters(model: HeadedModel) -> int:
    return sum(weight.numel() for weight in model.parameters())


def _taught(
    model: HeadedModel,
    original: HeadedModel,
    tokenizer: PreTrainedTokenizerBase,
    card: ModelCard,
    plan: Plan,
    work: Path,
    progress: bool,
) -> float:
    paired = any(head.kind in PAIRED for head in card.heads)
    if paired != (plan.pairs is not None):
        raise BadInput("this model reads pairs of texts" if paired else "this model reads single texts")
    rows = [
        Example(text, {}, pair=plan.pairs[i] if plan.pairs else None) for i, text in enumerate(plan.texts)
    ]
    learning = [head for head in card.heads if head.kind not in ("embed", "similarity")]
    heads = {head.name: {"kind": head.kind, "data": "texts"} for head in learning}
    recipe = Recipe.parse(
        {
            "base": card.base,
            "heads": heads or {"embed": {"kind": "embed"}},
            "train": {
                "epochs": plan.epochs or auto_epochs(len(rows)),
                "rate": RATE,
                "head_rate": RATE,
                "precision": best_precision(),
                "seed": plan.seed,
            },
        }
    )
    set_seed(plan.seed)
    feed = Feed(tokenizer, card.max_tokens, types=model.typed and paired)
    try:
        far = layers.teach(model, original, feed, rows, recipe, work / "layers", progress=progress)
    finally:
        shutil.rmtree(work / "layers", ignore_errors=True)
    _LOG.info("distilled", rows=len(rows), distance=round(far, 5))
    return round(far, 6)


def _fewer_words(
    model: HeadedModel, folder: Path, plan: Plan, aside: Path
) -> tuple[PreTrainedTokenizerBase, list[int]]:
    content = (folder / TOKENIZER).read_text("utf-8")
    kept = vocabulary.used(Tokenizer.from_str(content), [*plan.texts, *(plan.pairs or ()), *sample_texts()])
    smaller, order = vocabulary.pruned(content, kept)
    before = int(model.get_input_embeddings().num_embeddings)  # type: ignore[arg-type]
    vocabulary.shorten(model.encoder, order)
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    for file in folder.glob("*token*.json"):
        shutil.copy(file, aside)
    shutil.copy(folder / "config.json", aside)
    (aside / TOKENIZER).write_text(smaller, "utf-8")
    tokenizer = AutoTokenizer.from_pretrained(aside, local_files_only=True)
    shutil.rmtree(aside)
    return tokenizer, [before, len(order)]


def _carry(folder: Path, out: Path, card: ModelCard, plan: Plan) -> None:
    """Take along what is still true of the smaller model."""
    for name in _CARRIED:
        if (folder / name).is_file():
            shutil.copy(folder / name, out / name)
    if card.out_of_scope is not None:
        for file in folder.iterdir():
            if (
                file.is_file()
                and file.name != REFERENCE  # its vectors are of the larger model
                and not (out / file.name).exists()
                and file.suffix in (".npz", ".npy", ".safetensors")
            ):
                shutil.copy(file, out / file.name)
        export.write_card(out, ModelCard.read(out).model_copy(update={"out_of_scope": card.out_of_scope}))


def _judged(folder: Path, served: TextModel, sample: Sample | None, limit: float | None) -> dict[str, Any]:
    reference = TextModel.load(folder, engine="onnx")
    if sample is None:
        texts = sample_texts()
        sample = Sample(texts, texts[::-1] if reference.paired else None)
    raw, got = (model.raw(sample.encode(model)) for model in (reference, served))
    heads = drift.judge(reference, served, sample, raw, got)
    counted = _learnt(folder, heads)
    within = drift.passes({n: one for n, one in heads.items() if n in counted}, reference.heads, limit)
    if not within:
        lost = ", ".join(
            f"{n} {one['loss']:.4f} of {one['metric']}" for n, one in heads.items() if n in counted
        )
        raise Conflict(
            f"the smaller model loses more than the limit: {lost}; keep more, give more texts, or raise "
            "--limit"
        )
    return {"heads": heads, "judged": sorted(counted), "within": within}


def _learnt(folder: Path, heads: Mapping[str, Any]) -> set[str]:
    try:
        told = json.loads((folder / "recipe.json").read_text("utf-8"))["heads"]
    except (OSError, ValueError, KeyError):
        return set(heads)
    found = {name for name in heads if told.get(name, {}).get("data") or told.get(name, {}).get("keep")}
    return found or set(heads)
