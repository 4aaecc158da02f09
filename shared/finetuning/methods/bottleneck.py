"""Bottleneck adapters: a thin detour behind every layer of a body at rest."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from shared.errors import BadInput

NAME = "bottleneck"


class Bottleneck(nn.Module):
    """x + up(relu(down(norm(x)))), which is x at the start.

    Bapna and Firat 2019, Simple, Scalable Adaptation, after Houlsby et al. 2019: one behind each layer.
    """

    def __init__(self, width: int, thin: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.down = nn.Linear(width, thin)
        self.up = nn.Linear(thin, width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, rows: Tensor) -> Tensor:
        """Return rows (…, width) of the same shape."""
        moved: Tensor = rows + self.up(functional.relu(self.down(self.norm(rows))))
        return moved


def add_bottlenecks(encoder: nn.Module, thin: int) -> None:
    """Put one behind each layer of the encoder and let nothing else be trained.

    They are modules of the layers, so that an exported graph holds them. Raises BadInput for an encoder
    whose layers can't be told.
    """
    encoder.requires_grad_(False)
    device = next(encoder.parameters()).device
    width = int(encoder.config.hidden_size)  # type: ignore[union-attr, arg-type]
    for layer in _layers(encoder):
        layer.add_module(NAME, Bottleneck(width, thin).to(device))
        layer.register_forward_hook(_behind)


def plain_state(encoder: nn.Module) -> dict[str, Tensor]:
    """Return the encoder's own weights by name, without those of the bottlenecks."""
    return {name: p for name, p in encoder.state_dict().items() if f".{NAME}." not in name}


def _layers(encoder: nn.Module) -> list[nn.Module]:
    wanted = int(getattr(encoder.config, "num_hidden_layers", 0) or 0)
    for module in encoder.modules():
        if isinstance(module, nn.ModuleList) and len(module) == wanted > 0:
            return list(module)
    raise BadInput(
        f"method adapter finds no list of {wanted} layers in a {type(encoder).__name__}; use lora or full"
    )


def _behind(layer: nn.Module, inputs: Any, output: Any) -> Any:
    own = layer.get_submodule(NAME)
    if isinstance(output, torch.Tensor):
        return own(output)
    return (own(output[0]), *output[1:])
