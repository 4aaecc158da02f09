"""Long texts on CPU are trained without dropout of attention; nothing else changes."""

import copy

import pytest
import torch
import transformers
from torch.utils.checkpoint import checkpoint

from shared.finetuning import attention
from shared.finetuning.attention import spare_long_texts

SMALL = {"vocab_size": 40, "max_position_embeddings": 40}
WIDTHS = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
BERT = SMALL | WIDTHS | {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.5}
DISTIL = {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 24, "dropout": 0.0, "attention_dropout": 0.5}
FAMILIES = {
    "Bert": BERT,
    "Roberta": BERT,
    "MPNet": BERT,
    "Albert": BERT | {"embedding_size": 8},
    "DistilBert": SMALL | DISTIL,
    "ModernBert": SMALL | WIDTHS | {"pad_token_id": 0, "attention_dropout": 0.5},
}


@pytest.fixture(params=FAMILIES)
def encoder(request, monkeypatch):
    monkeypatch.setattr(attention, "LONG", 12)
    torch.manual_seed(0)
    config = getattr(transformers, f"{request.param}Config")(**FAMILIES[request.param])
    made = getattr(transformers, f"{request.param}Model")(config).train()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    for module in made.modules():
        if hasattr(module, "out_drop"):  # behind attention: it stays, and is not looked at here
            module.out_drop = torch.nn.Identity()
    spare_long_texts(made)
    return made


def differs(encoder, length):
    ids = (torch.arange(length) % 30 + 4).view(1, -1)
    one, other = (encoder(input_ids=ids).last_hidden_state for _ in range(2))
    return not torch.equal(one, other)


def test_long_texts_are_read_alike_and_short_ones_with_dropout(encoder):
    assert differs(encoder, 12)
    assert not differs(encoder, 13)
    assert differs(encoder, 12)  # and so after a long one


def test_a_copy_and_an_encoder_that_is_taken_twice_do_the_same(encoder):
    spare_long_texts(encoder)
    for own in (encoder, copy.deepcopy(encoder)):
        assert not differs(own, 20)
        assert differs(own, 12)


@pytest.mark.parametrize("length", [12, 20])
def test_activations_that_are_computed_again_are_the_same(encoder, length):
    ids = (torch.arange(length) % 30 + 4).view(1, -1)
    slopes = []
    for again in (False, True):
        torch.manual_seed(1)
        encoder.zero_grad()

        def read():
            return encoder(input_ids=ids).last_hidden_state

        (checkpoint(read, use_reentrant=False) if again else read()).pow(2).sum().backward()
        slopes.append(encoder.get_input_embeddings().weight.grad.clone())
    assert torch.allclose(*slopes, rtol=1e-4, atol=1e-4)
