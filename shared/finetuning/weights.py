"""What may be loaded as a base: an encoder in safetensors that needs no code of its own."""

import hashlib
import json
import struct
from pathlib import Path
from typing import Any

from shared.errors import BadInput
from shared.models.card import GAP

# Encoder-decoders can be read in halves, but none of our heads fits them.
_SAY_ENCODER = "give an encoder (BERT, RoBERTa, MPNet, ModernBERT and the like)"


def read_config(folder: Path) -> dict[str, Any]:
    """Return config.json of a Hugging Face folder; raises BadInput when there is none or it isn't JSON."""
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(f"{folder} is no Hugging Face model folder: config.json: {error}") from error
    if not isinstance(config, dict):
        raise BadInput(f"{folder}/config.json is no JSON object")
    return config


def weight_files(folder: Path) -> list[Path]:
    """Return the safetensors files; raises BadInput where there are none, pickle ones being refused."""
    found = sorted(folder.glob("model*.safetensors"))
    if found:
        return found
    if any(folder.glob("model*.safetensors.sparse")):
        raise BadInput(
            f"{folder} keeps its weights without their zeros, for serving; begin with the model that it was "
            "made from"
        )
    pickled = sorted(
        file.name for file in [*folder.glob("*.bin"), *folder.glob("*.pt"), *folder.glob("*.pth")]
    )
    if pickled:
        raise BadInput(
            f"{folder} has its weights only as pickle ({', '.join(pickled)}), which can run code when "
            "it is read; save the model again with safetensors"
        )
    raise BadInput(f"{folder} has no model.safetensors")


def check_folder(folder: Path) -> dict[str, Any]:
    """Return the config of a folder that may be loaded; raises BadInput that says why one may not."""
    config = check_safe(folder)
    kind = str(config.get("model_type"))
    if kind not in _encoder_types() or config.get("is_encoder_decoder") or config.get("is_decoder"):
        raise BadInput(f"{folder} holds a model of type {kind!r}, which is no encoder; {_SAY_ENCODER}")
    return config


def check_safe(folder: Path) -> dict[str, Any]:
    """Return the config of a Hugging Face folder that runs no code of its own when it is loaded.

    Raises BadInput for pickled weights, own code, and a tokenizer without tokenizer.json.
    """
    if (folder / "adapter.safetensors").is_file() and (folder / "base").is_dir():
        raise BadInput(
            f"{folder} keeps a method's weights beside its base, which other trainings can't begin with; "
            f"use {folder / 'base'}, or a model of method full or lora"
        )
    if (folder / GAP).is_file():
        raise BadInput(
            f"{folder} reads labels from a hidden word (cloze), which is no base for other trainings and is "
            "not made smaller; use its own base"
        )
    config = read_config(folder)
    if "model_type" not in config:
        raise BadInput(f"{folder} is no Hugging Face model folder: its config.json names no model_type")
    if "auto_map" in config:
        raise BadInput(f"{folder} wants to run code of its own (auto_map in config.json), which is refused")
    weight_files(folder)
    if not (folder / "tokenizer.json").is_file():
        raise BadInput(
            f"{folder} has no tokenizer.json; save its tokenizer with a fast class of transformers"
        )
    return config


def _encoder_types() -> set[str]:
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

    return set(MODEL_FOR_MASKED_LM_MAPPING_NAMES) - {"bart", "mbart", "mvp", "tapas", "t5"}


def weights_sha256(folder: Path) -> str:
    """Return the SHA-256 of all tensors by name, with type and shape, pooler and position ids left out.

    It is of the content and not of the file, so the same weights converted from another format have
    the same one.
    """
    tensors: dict[str, tuple[Path, int, int, str]] = {}
    for file in weight_files(folder):
        with file.open("rb") as stream:
            (size,) = struct.unpack("<Q", stream.read(8))
            header = json.loads(stream.read(size))
        for name, entry in header.items():
            if name != "__metadata__" and "pooler." not in name and "position_ids" not in name:
                begin, end = entry["data_offsets"]
                about = f"{name} {entry['dtype']} {entry['shape']}\n"
                tensors[name] = (file, 8 + size + begin, end - begin, about)
    digest = hashlib.sha256()
    for name in sorted(tensors):
        path, offset, length, about = tensors[name]
        with path.open("rb") as stream:
            stream.seek(offset)
            digest.update(about.encode())
            digest.update(stream.read(length))
    return digest.hexdigest()
