"""Batches in passes: the same numbers with less padding and less memory."""

import pytest
import torch
from torch import nn

from shared.finetuning.passes import PASS, in_passes, tokens_held


class Encoder(nn.Module):
    """Counts what it is asked for; its dropout shows whether a pass is computed twice alike."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(50, 8)
        self.dropout = nn.Dropout(0.5)
        self.asked: list[tuple[int, int]] = []

    def forward(self, ids, mask, typed):
        self.asked.append(tuple(ids.shape))
        return self.dropout(self.words(ids)).tanh() * mask.unsqueeze(-1)


def batch(*lengths: int):
    width = max(lengths)
    mask = torch.tensor([[int(i < length) for i in range(width)] for length in lengths])
    return torch.arange(mask.numel()).reshape(mask.shape) % 50, mask


def gradient(encoder, *given, **options):
    torch.manual_seed(3)
    encoder.words.weight.grad = None
    encoder.asked.clear()
    found = in_passes(encoder, *given, **options)
    (found**2).sum().backward()
    return found.detach(), encoder.words.weight.grad.clone()


LENGTHS = [3, 20, 4, 19, 18, 3, 17, 20, 3, 3]


def test_a_batch_above_the_bound_is_computed_again_and_gives_the_same():
    encoder, (ids, mask) = Encoder(), batch(*LENGTHS)
    kept, slope = gradient(encoder, ids, mask)
    passes = list(encoder.asked)
    assert sorted(passes) == [(5, 4), (5, 20)]
    again, same = gradient(encoder, ids, mask, held=119)
    assert torch.equal(again, kept)
    assert torch.equal(same, slope)
    assert sorted(encoder.asked) == sorted(passes * 2)
    gradient(encoder, ids, mask, held=120)
    assert encoder.asked == passes


def test_nothing_is_computed_again_where_nothing_is_learnt():
    encoder, (ids, mask) = Encoder().eval(), batch(*LENGTHS)
    with torch.inference_mode():
        found = in_passes(encoder, ids, mask, held=1)
        assert torch.equal(found, encoder(ids, mask, None))
    assert len(encoder.asked) == 3


def test_a_pass_is_no_larger_than_its_bound():
    encoder, (ids, mask) = Encoder(), batch(*[500] * 9)
    gradient(encoder, ids, mask)
    assert encoder.asked == [(4, 500), (4, 500), (1, 500)]
    assert all(rows * longest <= PASS for rows, longest in encoder.asked)


def test_larger_encoders_hold_fewer_tokens():
    assert tokens_held(12, 768) == pytest.approx(tokens_held(12, 384) / 2)
    assert tokens_held(6, 384) == pytest.approx(tokens_held(12, 384) * 2)
    assert tokens_held(0, 384) > 0
