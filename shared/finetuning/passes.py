"""A training batch through the encoder on CPU: in passes of texts of like length, with a bound on memory."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from shared.models.batching import batches

PASS = 2048  # tokens: more at once are no faster on CPU
HELD = 8 << 30  # bytes of activations that a batch may hold until its way back
BYTES = 100  # of activations by token, layer and width: BERT encoders took 60 to 120

Encode = Callable[[Tensor, Tensor, Tensor | None], Tensor]


def in_passes(
    encode: Encode,
    input_ids: Tensor,
    attention_mask: Tensor,
    token_type_ids: Tensor | None = None,
    *,
    held: float = float("inf"),
) -> Tensor:
    """Return `encode`'s token rows (rows, tokens, width) of ids and mask, both (rows, tokens).

    Texts that have to stand in one batch (partners, pairs, few rows) differ in length: padding takes longer
    than passes of their own. Numbers of padding, which nobody reads, are 0 then. A batch of more than `held`
    tokens keeps no activations: each pass is computed once more on the way back, a third more time for the
    memory of one pass (Chen et al. 2016, Training Deep Nets with Sublinear Memory Cost). The numbers are the
    same either way, dropout included.
    """
    lengths = attention_mask.sum(1).tolist()
    groups = [(torch.tensor(rows), lengths[rows[0]]) for rows in batches(lengths, tokens=PASS)]
    if len(groups) == 1:
        return encode(input_ids, attention_mask, token_type_ids)
    again = torch.is_grad_enabled() and sum(len(rows) * longest for rows, longest in groups) > held
    found = []
    for rows, longest in groups:
        cut = (
            input_ids[rows, :longest],
            attention_mask[rows, :longest],
            None if token_type_ids is None else token_type_ids[rows, :longest],
        )
        found.append(checkpoint(encode, *cut, use_reentrant=False) if again else encode(*cut))
    width = input_ids.shape[1]
    padded = [functional.pad(part, (0, 0, 0, width - part.shape[1])) for part in found]
    return torch.cat(padded)[torch.cat([rows for rows, _ in groups]).argsort()]


def tokens_held(layers: int, width: int) -> float:
    """Return how many tokens' activations HELD bytes have room for."""
    return HELD / (BYTES * max(layers * width, 1))
