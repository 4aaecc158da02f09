"""From a trained model to the folder that is served: Hugging Face files, heads, ONNX graph, self-test."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from shared.errors import BadInput, Damaged
from shared.finetuning.backbone import HeadedModel
from shared.finetuning.bases import Base
from shared.finetuning.quiet import quiet, quiet_export
from shared.models import selftest
from shared.models.card import CARD, GRAPH, HEADS, TOKENIZER, ModelCard
from shared.models.heads import HeadSpec
from shared.models.text_model import TextModel

DRIFT = 1e-4  # the graph may differ from torch by so much, relative to outputs above 1


class Served(nn.Module):
    """What becomes the graph: ids and mask in, one named output per head."""

    def __init__(self, model: HeadedModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> dict[str, Tensor]:
        """Return the outputs by head."""
        return self.model.outputs(self.model.vectors(input_ids, attention_mask))


def export(
    model: HeadedModel, tokenizer: PreTrainedTokenizerBase, base: Base, out: Path, *, max_tokens: int
) -> TextModel:
    """Write the complete model folder into `out` (empty or new) and return it as it will be served.

    Raises BadInput for a base without a fast tokenizer, Damaged when the graph does not give the torch
    model's outputs.
    """
    out.mkdir(parents=True, exist_ok=True)
    model = model.float().cpu().eval()
    _write_weights(model, base, out)
    _write_tokenizer(tokenizer, base, out, max_tokens)
    _write_graph(model, tokenizer, out)
    card = ModelCard(
        base=base.name,
        fingerprint=_fingerprint(model, out, base, max_tokens),
        dim=model.width,
        max_tokens=max_tokens,
        pooling=base.pooling,
        query_prefix=base.query_prefix,
        pad_id=int(tokenizer.pad_token_id or 0),
        heads=list(model.specs.values()),
    )
    write_card(out, card)
    served = TextModel.open(out)
    _compare(model, tokenizer, served, max_tokens)
    selftest.write(out, served.logits)
    return served


def write_card(out: Path, card: ModelCard) -> None:
    """Write `model.json`."""
    (out / CARD).write_text(card.model_dump_json(indent=1), "utf-8")


def with_heads(out: Path, heads: list[HeadSpec]) -> None:
    """Replace the heads' temperatures and thresholds in the card; the graph stays as it is."""
    card = ModelCard.read(out)
    write_card(out, card.model_copy(update={"heads": heads}))


def _write_weights(model: HeadedModel, base: Base, out: Path) -> None:
    with quiet():
        model.encoder.save_pretrained(out)  # type: ignore[operator]  # nn.Module hides the base's methods
    heads = {n: p.detach().contiguous() for n, p in model.heads.state_dict().items()}
    save_file(heads, out / HEADS)
    for name in (
        "1_Pooling",
        "modules.json",
        "sentence_bert_config.json",
        "config_sentence_transformers.json",
    ):
        source = base.path / name
        if source.is_dir():
            shutil.copytree(source, out / name, dirs_exist_ok=True)
        elif source.is_file():
            shutil.copy(source, out / name)


def _write_tokenizer(tokenizer: PreTrainedTokenizerBase, base: Base, out: Path, max_tokens: int) -> None:
    if not getattr(tokenizer, "is_fast", False):
        raise BadInput(f'base {base.name} has no fast tokenizer; serve it with runtime.engine = "torch"')
    tokenizer.save_pretrained(out)
    # Some shipped files pad every text to a fixed length and cut at it: a short text would cost 128 tokens.
    clean = Tokenizer.from_file(str(out / TOKENIZER))
    clean.no_padding()
    clean.enable_truncation(max_tokens)
    clean.save(str(out / TOKENIZER))


def _write_graph(model: HeadedModel, tokenizer: PreTrainedTokenizerBase, out: Path) -> None:
    from transformers.exporters import OnnxConfig, OnnxExporter

    texts = ["one text", "a longer text, so that the trace sees padding"]
    fed = tokenizer(texts, padding=True, return_tensors="pt")
    sample = {"input_ids": fed["input_ids"], "attention_mask": fed["attention_mask"]}
    with quiet_export():
        exported = OnnxExporter().export(Served(model), sample, OnnxConfig(dynamic=True))
        exported.save_pretrained((out / GRAPH).parent)


def _fingerprint(model: HeadedModel, out: Path, base: Base, max_tokens: int) -> str:
    """Hash what decides a vector: the backbone's weights, the tokenizer, pooling and length."""
    digest = hashlib.sha256()
    for name, weight in sorted(model.encoder.state_dict().items()):
        digest.update(name.encode())
        digest.update(weight.detach().float().contiguous().numpy().tobytes())
    digest.update((out / TOKENIZER).read_bytes())
    digest.update(json.dumps([base.pooling, max_tokens]).encode())
    return digest.hexdigest()[:32]


def _compare(
    model: HeadedModel, tokenizer: PreTrainedTokenizerBase, served: TextModel, max_tokens: int
) -> None:
    texts = list(selftest.TEXTS)
    fed: Any = tokenizer(texts, padding=True, truncation=True, max_length=max_tokens, return_tensors="pt")
    with torch.inference_mode():
        expected = Served(model)(fed["input_ids"], fed["attention_mask"])
    got = served.logits(texts)
    for name, rows in expected.items():
        wanted = rows.numpy()
        off = float((np.abs(got[name] - wanted) / np.maximum(1.0, np.abs(wanted))).max())
        if not off <= DRIFT:
            raise Damaged(f"the exported graph's head {name!r} differs from the trained one by {off:.2g}")
