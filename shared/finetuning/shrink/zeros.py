"""Fewer weights: of every table the smallest become 0."""

import torch
from torch import nn

from shared.errors import BadInput


def zero_smallest(encoder: nn.Module, share: float) -> float:
    """Set the `share` (0 to 1) of smallest weights of each table to 0, in place; returns the share of all
    weights that are 0 then. Biases and norms stay (Han et al. 2015)."""
    if not 0 < share < 1:
        raise BadInput(f"{share} of the weights can't become 0; give a share above 0 and below 1")
    zeros = total = 0
    with torch.no_grad():
        for weight in encoder.parameters():
            if weight.ndim == 2:
                count = int(weight.numel() * share)
                weight.view(-1)[weight.abs().view(-1).argsort(stable=True)[:count]] = 0.0
            zeros += int((weight == 0).sum())
            total += weight.numel()
    return zeros / total
