"""Attention over long texts on CPU, where its dropout costs more than all the rest."""

from typing import Any

from torch import Tensor, nn

LONG = 192  # tokens: from about here on dropout of attention takes time
_NAMES = ("dropout", "attention_dropout")
_KEPT = "_dropout_of_short_texts"


def spare_long_texts(encoder: nn.Module) -> None:
    """Train without dropout of attention where texts have over LONG tokens and the encoder is on CPU.

    PyTorch's fast attention on CPU knows no dropout: with it every layer draws and keeps a number for each
    pair of tokens. Dropout elsewhere stays. Shorter texts, GPUs and models at work are as before.
    """
    for module in encoder.modules():
        if "Attention" in type(module).__name__ and _dropouts(module):
            module.register_forward_pre_hook(_without, with_kwargs=True)
            module.register_forward_hook(_again)


def _dropouts(module: nn.Module) -> dict[str, float]:
    """Return the shares that an attention layer drops; architectures keep them as a module or a number."""
    found = {name: getattr(module, name, None) for name in _NAMES}
    return {
        name: float(own.p if isinstance(own, nn.Dropout) else own)
        for name, own in found.items()
        if isinstance(own, (nn.Dropout, float))
    }


def _set(module: nn.Module, shares: dict[str, float]) -> None:
    for name, share in shares.items():
        own = getattr(module, name)
        if isinstance(own, nn.Dropout):
            own.p = share
        else:
            setattr(module, name, share)


def _without(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    states = args[0] if args else kwargs.get("hidden_states")
    if not module.training or not isinstance(states, Tensor) or _KEPT in module.__dict__:
        return
    if states.device.type == "cpu" and states.shape[1] > LONG:
        before = _dropouts(module)
        setattr(module, _KEPT, before)
        _set(module, dict.fromkeys(before, 0.0))


def _again(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
    _set(module, module.__dict__.pop(_KEPT, {}))
