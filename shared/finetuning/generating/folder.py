"""A generator's folder: Hugging Face files, `generator.json` and a self-test with stored logits."""

import hashlib
import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer, PreTrainedTokenizerBase

from shared.errors import BadInput, Damaged, NotFound
from shared.finetuning.generating import bases
from shared.finetuning.generating.encoding import Encoding
from shared.finetuning.quiet import quiet
from shared.finetuning.weights import check_safe, read_config, weights_sha256
from shared.models.card import RESTORE, SELF_TEST
from shared.models.generator_card import CARD, GeneratorCard, Kind
from shared.models.prompting import VERSION
from shared.settings import load_settings

ADAPTER = "adapter_model.safetensors"
TEXTS = ("Question: Where is my card?\nAnswer:", "问题：我的卡在哪里？", "1 2 3 4 5")
WATCHED = 16  # logits a text that are compared, the greatest ones
TOLERANCE = 5e-3  # of a logit's size, at least 1; another CPU differs by 1e-4 in float32

Foretold = Callable[[str], torch.Tensor]


def load(path: Path, kind: Kind, dtype: torch.dtype = torch.float32) -> Any:
    """Return the model of a Hugging Face folder; no code of its own is run and no pickle is read."""
    classes = {"causal": AutoModelForCausalLM, "seq2seq": AutoModelForSeq2SeqLM}
    with quiet():
        return classes[kind].from_pretrained(
            path, dtype=dtype, local_files_only=True, use_safetensors=True, trust_remote_code=False
        )


def load_tokenizer(path: Path) -> PreTrainedTokenizerBase:
    """Return the tokenizer of a Hugging Face folder."""
    return AutoTokenizer.from_pretrained(path, local_files_only=True, trust_remote_code=False)


def stored_dtype(path: Path) -> torch.dtype:
    """Return the type of the numbers in a folder's weights, float32 where its config doesn't say."""
    config = read_config(path)
    found = getattr(torch, str(config.get("dtype") or config.get("torch_dtype") or "float32"), None)
    return found if found in (torch.bfloat16, torch.float16) else torch.float32


@dataclass(frozen=True)
class Made:
    """What a tuning gave: the model (with `adapter` a peft model whose adapter alone is stored)."""

    model: Any
    encoding: Encoding
    base: bases.GeneratorBase
    named: str  # the base as the recipe names it, a folder by its path
    adapter: bool


def write(out: Path, made: Made) -> GeneratorCard:
    """Write model, tokenizer and card into `out`; the weights keep the type of the base's."""
    dtype = stored_dtype(made.base.path)
    with quiet():
        if made.adapter:
            for config in made.model.peft_config.values():
                config.base_model_name_or_path = made.named
            made.model.save_pretrained(out, save_embedding_layers=False)
            (out / "README.md").unlink(missing_ok=True)  # peft's empty form
        else:
            made.model.to(dtype).save_pretrained(out)
        made.encoding.tokenizer.save_pretrained(out)
    card = GeneratorCard(
        base=made.named if made.adapter else made.base.name,
        base_sha256=made.base.sha256,
        licence=made.base.licence,
        kind=made.base.kind,
        adapter=made.adapter,
        chat=made.encoding.chat,
        prompt_version=VERSION,
        max_tokens=made.encoding.max_tokens,
        max_reply_tokens=made.encoding.max_reply_tokens,
        end_ids=made.encoding.end_ids,
        stops=made.encoding.stops,
        dtype="float32" if made.adapter else str(dtype).removeprefix("torch."),
        fingerprint=_fingerprint(out, made.adapter),
    )
    (out / CARD).write_text(card.model_dump_json(indent=1), "utf-8")
    return card


def read(path: Path, home: Path | None) -> tuple[Any, Encoding, GeneratorCard]:
    """Return (model in float32, encoding, card) of a folder; an adapter is added to its base's weights.

    Raises NotFound without a card or base, Damaged for weights that can't be read, are not those of the
    card, or whose base has changed.
    """
    card = GeneratorCard.read(path)
    if _fingerprint(path, card.adapter) != card.fingerprint:
        raise Damaged(f"weights or tokenizer of {path} are not those that its card names; {RESTORE}")
    try:
        if card.adapter:
            model = _with_adapter(path, card, home)
        else:
            check_safe(path)
            model = load(path, card.kind)
        tokenizer = load_tokenizer(path)
    except (OSError, RuntimeError, SafetensorError) as error:
        raise Damaged(f"the weights in {path} can't be read: {error}; {RESTORE}") from error
    return model, Encoding(tokenizer, card.kind, card.max_tokens, card.max_reply_tokens), card


def _with_adapter(path: Path, card: GeneratorCard, home: Path | None) -> Any:
    from peft import PeftModel

    try:
        base = bases.resolve(card.base, home=home or load_settings().home)
    except (NotFound, BadInput) as error:
        raise NotFound(f"{path} holds an adapter alone, and its base is missing: {error.detail}") from error
    if base.sha256 != card.base_sha256:
        raise Damaged(f"{path} was tuned on other weights than those of {base.path}; bring back its base")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft reads a name that transformers has replaced
        return PeftModel.from_pretrained(load(base.path, card.kind), path).merge_and_unload()


def remember(path: Path, foretold: Foretold) -> None:
    """Store the greatest logits behind the fixed texts."""
    rows = []
    for text in TEXTS:
        values, ids = foretold(text).topk(WATCHED)
        rows.append({"text": text, "ids": ids.tolist(), "logits": [round(v, 5) for v in values.tolist()]})
    (path / SELF_TEST).write_text(json.dumps(rows, ensure_ascii=False), "utf-8")


def check(path: Path, foretold: Foretold) -> None:
    """Raise Damaged unless the stored logits come again."""
    file = path / SELF_TEST
    try:
        rows = [(row["text"], row["ids"], row["logits"]) for row in json.loads(file.read_text("utf-8"))]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Damaged(f"{file} can't be read: {error}; {RESTORE}") from error
    for text, ids, logits in rows:
        got, wanted = foretold(text), torch.tensor(logits)
        if max(ids) >= len(got):
            raise Damaged(f"{path}: the model has {len(got)} words, too few for its self-test; {RESTORE}")
        off = float(((got[ids] - wanted).abs() / wanted.abs().clamp(min=1)).max())
        if not off <= TOLERANCE:
            raise Damaged(
                f"{path}: logits are off by {off:.3g} in the self-test (allowed {TOLERANCE}); weights and "
                f"tokenizer don't belong together: {RESTORE}"
            )


def _fingerprint(path: Path, adapter: bool) -> str:
    digest = hashlib.sha256(f"prompt {VERSION}\n".encode())
    try:
        weights = (path / ADAPTER).read_bytes() if adapter else weights_sha256(path).encode()
        digest.update(weights)
        digest.update((path / "tokenizer.json").read_bytes())
        template = path / "chat_template.jinja"
        digest.update(template.read_bytes() if template.is_file() else b"")
    except (OSError, ValueError) as error:
        raise Damaged(f"{path} is not whole: {error}; {RESTORE}") from error
    return digest.hexdigest()
