"""The vocabulary is projected at reply positions alone: with 262,144 words that is most of a step's work."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from shared.models.generator_card import Kind


def targets(labels: torch.Tensor, kind: Kind) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (mask, ids): where a reply token is foretold, (batch, length) bool, and which, in that order.

    A causal model foretells the token behind a position, a seq2seq model the position's own, since its
    decoder reads the reply shifted by one.
    """
    if kind == "causal":
        labels = torch.nn.functional.pad(labels[:, 1:], (0, 1), value=-100)
    mask = labels != -100
    return mask, labels[mask]


@contextlib.contextmanager
def replies_only(model: Any, mask: torch.Tensor) -> Iterator[None]:
    """Let the output layer of `model` see only the rows of `mask`; its logits are then (positions, words).

    A model without a layer of that name computes all of its logits, which `chosen` then reads.
    """
    layer = model.get_output_embeddings()
    if layer is None:
        yield
        return
    handle = layer.register_forward_pre_hook(lambda _, args: (args[0][mask], *args[1:]))
    try:
        yield
    finally:
        handle.remove()


def chosen(logits: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return (positions, words), whether or not the output layer saw those positions alone."""
    return logits if logits.dim() == 2 else logits[mask]


def losses(model: Any, batch: Mapping[str, torch.Tensor], kind: Kind) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (summed nats, reply tokens), each (batch,), of replies as the model foretells them."""
    fed = dict(batch)
    mask, wanted = targets(fed.pop("labels"), kind)
    with replies_only(model, mask):
        logits = chosen(model(**fed).logits, mask)
    nats = torch.nn.functional.cross_entropy(logits.float(), wanted, reduction="none")
    by_row = torch.zeros(len(mask), device=nats.device).index_add_(0, mask.nonzero()[:, 0], nats)
    return by_row, mask.sum(1)
