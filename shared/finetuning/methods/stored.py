"""Trained parts on disk: `adapter.safetensors` beside the base that they belong to."""

import json
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from shared.errors import Damaged
from shared.finetuning.backbone import load_encoder
from shared.finetuning.bases import Base
from shared.finetuning.methods.bodies import dress
from shared.finetuning.methods.bottleneck import plain_state
from shared.finetuning.options import Method
from shared.finetuning.quiet import quiet
from shared.models.card import RESTORE

ADAPTER, BASE = "adapter.safetensors", "base"
_MERGED = ("lora", "adalora")
_ANY = 1000  # steps: AdaLoRA asks for a number even where nothing is trained


def settle(encoder: nn.Module, method: Method, base: Base, out: Path) -> nn.Module:
    """Write the trained parts into `out` and return the encoder to be exported.

    LoRA and AdaLoRA become part of the weights, so that their folder is an ordinary one. `full` and
    `frozen` have no parts and are returned as they are.
    """
    if method.kind in ("full", "frozen"):
        return encoder
    merged = method.kind in _MERGED
    about = {
        "method": method.model_dump_json(),
        "base": base.name,
        "base_sha256": base.sha256,
        "merged": json.dumps(merged),
    }
    parts = {name: p.detach().float().cpu().contiguous() for name, p in _trained(encoder).items()}
    out.mkdir(parents=True, exist_ok=True)
    save_file(parts, out / ADAPTER, about)
    if not merged:
        return encoder
    whole: nn.Module = encoder.merge_and_unload()  # type: ignore[operator]  # nn.Module hides peft's methods
    return whole


def attach(encoder: nn.Module, file: Path) -> nn.Module:
    """Return the base's encoder with the stored parts; raises Damaged when they don't fit it."""
    try:
        with safe_open(file, "pt") as stored:
            method = Method.model_validate_json((stored.metadata() or {})["method"])
            parts: dict[str, Tensor] = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
    except (OSError, KeyError, SafetensorError, ValidationError) as error:
        raise Damaged(f"{file} can't be read: {error}; {RESTORE}") from error
    encoder = dress(encoder, method, steps=_ANY)
    places = _trained(encoder)
    if places.keys() != parts.keys() or any(places[n].shape != parts[n].shape for n in parts):
        raise Damaged(f"{file} does not fit the base beside it; {RESTORE}")
    with torch.no_grad():
        for name, place in places.items():
            place.copy_(parts[name])
    return encoder


def save_encoder(encoder: nn.Module, out: Path) -> None:
    """Write the encoder as a Hugging Face folder: into `out`, or below it where parts stand beside it.

    A folder whose base lies below has no weights at its top, so that no other program takes the base for
    the whole model.
    """
    plain = plain_state(encoder)
    apart = graphless(encoder) or len(plain) < len(encoder.state_dict())
    place: Any = encoder.get_base_model() if graphless(encoder) else encoder  # type: ignore[operator]
    options = {"state_dict": plain} if apart and not graphless(encoder) else {}
    with quiet():
        place.save_pretrained(out / BASE if apart else out, **options)


def load_whole(folder: Path) -> nn.Module:
    """Load the encoder of a model folder, with its parts where they stand beside it."""
    if not (folder / BASE).is_dir():
        return load_encoder(folder)
    return attach(load_encoder(folder / BASE), folder / ADAPTER)


def graphless(encoder: nn.Module) -> bool:
    """Return whether the torch runtime alone can serve it: peft still stands around it."""
    return hasattr(encoder, "get_base_model")


def _trained(encoder: nn.Module) -> dict[str, nn.Parameter]:
    return {name: p for name, p in encoder.named_parameters() if p.requires_grad}
