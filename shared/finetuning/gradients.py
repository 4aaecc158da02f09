"""Integrated gradients: which words moved a head's answer, by the slope on the way from an empty text to it.

Sundararajan, Taly and Yan 2017. The way goes in the word embeddings, from the mask token in every place to
the text's own tokens; the weights of all tokens add up to what the answer gained on it (completeness).
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from shared.errors import BadInput
from shared.finetuning.backbone import HeadedModel
from shared.finetuning.torch_engine import load_model
from shared.models.explain import Explanation, Token, explained_head, mask_token, reading
from shared.models.heads import GRADED, FloatArray, HeadSpec
from shared.models.spans import tokens_of
from shared.models.text_model import TextModel
from shared.text.words import words

STEPS = 32
_AT_ONCE = 16  # steps in one batch: some 100 MB for MiniLM and 256 tokens


def integrated_gradients(
    folder: Path,
    model: TextModel,
    text: str,
    head: str | None = None,
    *,
    label: str | None = None,
    other: str | None = None,
    steps: int = STEPS,
) -> Explanation:
    """Return what `explain.occlusion` returns, with weights from the trained weights in `folder`.

    `model` is the same folder as served. A word's weight is the sum over its tokens, in the same unit as
    occlusion's. Raises as `occlusion` does, and BadInput for heads that speak of two texts.
    """
    spec = explained_head(model, head)
    if spec.kind in GRADED:
        raise BadInput(
            f'gradients explain heads that read one text; use --method occlusion for kind "{spec.kind}"'
        )
    if (spec.kind == "embed") != (other is not None):
        raise BadInput(f"a {spec.kind} head {'needs' if other is None else 'reads no'} second text")
    trained = load_model(folder)
    (encoding,) = model.encode([text])
    toward = model.embed([other]) if other is not None else None
    row = toward[0] @ model.embed([text]).T if toward is not None else model.logits([text])[spec.name][0]
    answer, _ = reading(spec, np.asarray(row, np.float32), label)
    measure = _measure(trained, spec, answer, toward)
    _, mask = mask_token(model)
    weights, _, _ = attributions(trained, encoding.ids, measure, baseline=mask, steps=steps)
    own = [tokens_of(encoding.offsets, word.start, word.end) for word in words(text)]
    tokens = [
        Token(*word, round(float(weights[at].sum()), 6)) for word, at in zip(words(text), own, strict=True)
    ]
    return Explanation(answer, tokens, "gradients")


def attributions(
    model: HeadedModel,
    ids: list[int],
    measure: Callable[[Tensor], Tensor],
    *,
    baseline: int,
    steps: int = STEPS,
) -> tuple[FloatArray, float, float]:
    """Return (tokens,) the weight of each token, and the measure of the empty text and of the text.

    `measure` turns unit vectors (rows, width) into (rows,). The first and last token, the model's own marks,
    stay as they are and weigh 0. The weights add up to the difference of the two measures, the nearer the
    more `steps` there are (midpoints of equal pieces).
    """
    device = next(model.parameters()).device
    whole = torch.tensor([ids], device=device)
    empty = torch.full_like(whole, baseline)
    empty[:, 0], empty[:, -1] = whole[:, 0], whole[:, -1]
    layer = model.get_input_embeddings()
    with torch.no_grad():
        start, end = layer(empty), layer(whole)  # (1, tokens, width)
    slopes = torch.zeros_like(end)
    for shares in torch.split((torch.arange(steps, device=device) + 0.5) / steps, _AT_ONCE):
        way = (start + shares[:, None, None] * (end - start)).requires_grad_()
        value = measure(_vectors(model, whole, way)).sum()
        (slope,) = torch.autograd.grad(value, way)
        slopes += slope.sum(0, keepdim=True)
    weights = ((end - start) * slopes / steps).sum(-1)[0]
    with torch.no_grad():
        low, high = (float(measure(_vectors(model, whole, rows))[0]) for rows in (start, end))
    return weights.cpu().numpy().astype(np.float32), low, high


def _vectors(model: HeadedModel, ids: Tensor, embedded: Tensor) -> Tensor:
    # The layer's output is replaced, whatever the encoder does with it afterwards (positions, norms).
    rows = ids.expand(len(embedded), -1)
    hook = model.get_input_embeddings().register_forward_hook(lambda *_: embedded)
    try:
        return model.vectors(rows, torch.ones_like(rows))
    finally:
        hook.remove()


def _measure(
    model: HeadedModel, spec: HeadSpec, answer: str | float, toward: FloatArray | None
) -> Callable[[Tensor], Tensor]:
    if toward is not None:
        direction = torch.from_numpy(toward[0])
        return lambda vectors: vectors @ direction
    head: Any = model.heads[spec.name]
    if spec.kind == "regress":
        return lambda vectors: head(vectors)[:, 0] * spec.spread
    at = spec.labels.index(str(answer))
    if spec.kind == "multilabel":
        return lambda vectors: head(vectors)[:, at] / spec.temperature

    def odds(vectors: Tensor) -> Tensor:
        logs = functional.log_softmax(head(vectors) / spec.temperature, dim=-1)
        others = torch.cat([logs[:, :at], logs[:, at + 1 :]], dim=-1)
        return logs[:, at] - torch.logsumexp(others, dim=-1)

    return odds
