"""What a model says of examples: of torch while it learns and of the served graph afterwards, in one form."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from shared.evaluation.entities import Span
from shared.finetuning.backbone import HeadedModel
from shared.finetuning.examples import Example
from shared.finetuning.feeding import Feed
from shared.finetuning.probe import encode
from shared.finetuning.progress import bar
from shared.models.batching import batches
from shared.models.heads import BY_TOKEN, FloatArray, HeadSpec
from shared.models.reading import windows_of, word_tags
from shared.models.spans import Answer, Offsets, best_answer, entities, first_tokens, pooled, tokens_of
from shared.models.text_model import TextModel


@dataclass(frozen=True)
class Said:
    """Of one example: by head the numbers (width,), or (tokens, width) with the tokens' offsets, and for
    span heads the windows of its passage."""

    numbers: dict[str, FloatArray]
    offsets: Offsets = ()
    windows: list[tuple[FloatArray, Offsets]] = field(default_factory=list)


def said_in_training(
    model: HeadedModel, feed: Feed, rows: Sequence[Example], precision: str = "fp32"
) -> list[Said]:
    """Return what the torch model says of each row, in order, without changing its mode or gradients."""
    device = next(model.parameters()).device
    kinds = {spec.kind for spec in model.specs.values()}
    by_token, windows = bool(kinds & set(BY_TOKEN)), "span" in kinds
    found: list[Said | None] = [None] * len(rows)
    training = model.training
    model.eval()
    with (
        torch.inference_mode(),
        torch.autocast(device.type, torch.bfloat16, precision == "bf16"),
        bar("measuring rows", len(rows), "row") as read,
    ):
        for batch in batches([len(row.text) + len(row.pair or "") for row in rows]):
            pairs = [str(rows[i].pair) for i in batch] if rows[batch[0]].pair is not None else None
            fed = feed([rows[i].text for i in batch], pairs, windows=windows, offsets=by_token)
            inputs = {name: part.to(device) for name, part in fed.tensors.items()}
            tokens = model.tokens(**inputs)
            raw = model.outputs(tokens, model.pooled(tokens, inputs["attention_mask"]))
            numbers = {name: values.float().cpu().numpy() for name, values in raw.items()}
            for place, i in enumerate(batch):
                at = [row for row, origin in enumerate(fed.origin) if origin == place]
                found[i] = _one(numbers, fed.offsets, at, windows)
            read(len(batch))
    model.train(training)
    whole = [one for one in found if one is not None]
    for spec in (one for one in model.specs.values() if one.kind == "similarity"):
        _compare(model, feed, spec, rows, whole, precision)
    return whole


def _compare(
    model: HeadedModel,
    feed: Feed,
    spec: HeadSpec,
    rows: Sequence[Example],
    said: Sequence[Said],
    precision: str,
) -> None:
    (vector,) = (name for name, one in model.specs.items() if one.kind == "embed")
    chosen = [i for i, row in enumerate(rows) if spec.name in row.targets]
    others = encode(model, feed, [rows[i].targets[spec.name][0] for i in chosen], precision=precision)
    served = model.fitted(spec)
    for i, other in zip(chosen, others, strict=True):
        said[i].numbers[spec.name] = served.compared(said[i].numbers[vector][None], other[None])[0]


def _one(numbers: dict[str, FloatArray], offsets: list[Offsets], at: list[int], windows: bool) -> Said:
    first = {name: values[at[0]] for name, values in numbers.items()}
    if not windows:
        return Said(first, offsets[at[0]] if offsets else ())
    (values,) = numbers.values()
    return Said(first, offsets[at[0]], [(values[row], offsets[row]) for row in at])


def said_by(model: TextModel, rows: Sequence[Example]) -> list[Said]:
    """Return what the served model says of each row, in order, as raw numbers."""
    texts = [row.text for row in rows]
    if any(head.kind == "span" for head in model.heads.values()):
        passages = windows_of(model, texts, [str(row.pair) for row in rows])
        return [Said({}, (), windows) for windows in passages]
    pairs = [str(row.pair) for row in rows] if model.paired else None
    encodings = model.encode(texts, pairs=pairs)
    with bar("measuring rows", len(rows), "row") as read:
        raw = model.raw(encodings, done=read)
    said = [
        Said({name: values[i] for name, values in raw.items()}, encoding.offsets)
        for i, encoding in enumerate(encodings)
    ]
    if model.compares:
        for name, spec in model.heads.items():
            chosen = [i for i, row in enumerate(rows) if spec.kind == "similarity" and name in row.targets]
            others = [rows[i].targets[name][0] for i in chosen]
            told = model.with_similarity({n: values[chosen] for n, values in raw.items()}, others)
            for place, i in enumerate(chosen):
                said[i].numbers[name] = told[name][place]
    return said


def tag_spans(spec: HeadSpec, rows: Sequence[Example], said: Sequence[Said]) -> tuple[list[Any], list[Any]]:
    """Return the true and the predicted tag of every word, by row."""
    truth, predicted = [], []
    for row, one in zip(rows, said, strict=True):
        words = [(start, end) for start, end, _ in row.targets[spec.name]]
        truth.append([spec.labels[label] for _, _, label in row.targets[spec.name]])
        predicted.append(word_tags(spec, one.numbers[spec.name], one.offsets, words))
    return truth, predicted


def places(spec: HeadSpec, row: Example, offsets: Offsets) -> list[tuple[list[int], int]]:
    """Return the tokens of each word (its first one) of a tag head, or span of an entity head, that was not
    cut off, and the position of its label."""
    given = row.targets[spec.name]
    if spec.kind == "tag":
        first = first_tokens(offsets, [(start, end) for start, end, _ in given])
        return [([at], label) for at, (_, _, label) in zip(first, given, strict=True) if at is not None]
    found = [(tokens_of(offsets, start, end), label) for start, end, label in given]
    return [(at, label) for at, label in found if at]


def placed(
    spec: HeadSpec, rows: Sequence[Example], said: Sequence[Said]
) -> tuple[FloatArray, npt.NDArray[np.int64]]:
    """Return the raw numbers (n, labels) at all `places` of the rows, and the positions (n,) of labels."""
    found = [
        (one.numbers[spec.name][at].mean(0), label)
        for row, one in zip(rows, said, strict=True)
        for at, label in places(spec, row, one.offsets)
    ]
    numbers = np.stack([own for own, _ in found]) if found else np.zeros((0, len(spec.labels)), np.float32)
    return numbers, np.asarray([label for _, label in found], np.int64)


def entities_of(row: Example, name: str, tags: Sequence[str]) -> list[Span]:
    """Return the entities that tags of the row's words make, in characters."""
    words = [(start, end) for start, end, _ in row.targets[name]]
    return [Span(*entity) for entity in entities(words, tags)]


def span_logits(spec: HeadSpec, row: Example, one: Said) -> list[FloatArray | None]:
    """Return the raw numbers (labels,) of each of the row's spans, None for one that was cut off."""
    values = one.numbers[spec.name]
    return [pooled(values, one.offsets, start, end) for start, end, _ in row.targets[spec.name]]


def answer(row: Example, one: Said, *, no_answer: bool) -> tuple[str, Answer]:
    """Return the answer's text, "" for none, and where it stands in the passage."""
    found = best_answer(one.windows, no_answer=no_answer)
    return str(row.pair)[found.start : found.end], found


def grades(spec: HeadSpec, rows: Sequence[Example]) -> FloatArray:
    """Return (rows,) how well the two texts of each row belong together, 0 to 1."""
    targets = [row.targets[spec.name] for row in rows]
    return np.asarray([one[1] if spec.kind == "similarity" else one for one in targets], np.float32)


def stacked(said: Sequence[Said], name: str) -> FloatArray:
    """Return the numbers of a head of texts, (rows, width)."""
    return np.stack([one.numbers[name] for one in said])
