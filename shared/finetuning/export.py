"""From a trained model to the folder that is served: Hugging Face files, heads, ONNX graph, self-test."""

import hashlib
import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from shared.errors import BadInput, Damaged
from shared.finetuning import sentence_folder
from shared.finetuning.backbone import HeadedModel
from shared.finetuning.bases import Base
from shared.finetuning.feeding import Feed
from shared.finetuning.methods.stored import BASE, graphless, save_encoder
from shared.finetuning.quiet import quiet_export
from shared.finetuning.word_head import FILE as HIDDEN_WORDS
from shared.models import selftest
from shared.models.card import CARD, GAP, GRAPH, HEADS, TOKENIZER, ModelCard
from shared.models.heads import PAIRED, HeadSpec
from shared.models.text_model import TextModel

DRIFT = 1e-4  # the graph may differ from torch by so much, relative to outputs above 1


class Served(nn.Module):
    """What becomes the graph: ids and mask in, one named output per head."""

    def __init__(self, model: HeadedModel) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Return the outputs by head."""
        tokens = self.model.tokens(input_ids, attention_mask, token_type_ids)
        return self.model.outputs(tokens, self.model.pooled(tokens, attention_mask))


def export(
    model: HeadedModel, tokenizer: PreTrainedTokenizerBase, base: Base, out: Path, *, max_tokens: int
) -> TextModel:
    """Write the complete model folder into `out` (empty or new) and return it as it will be served.

    A model with trained vectors before its texts has no graph; its card asks for the torch runtime.
    Raises BadInput for a base without a fast tokenizer, Damaged when the graph does not give the torch
    model's outputs.
    """
    out.mkdir(parents=True, exist_ok=True)
    model = model.float().cpu().eval()
    feed = Feed(tokenizer, max_tokens, types=model.typed and _paired(model))
    _write_weights(model, base, out, max_tokens)
    _write_tokenizer(tokenizer, base, out, max_tokens)
    torch_only = graphless(model.encoder)
    if not torch_only:
        _write_graph(model, feed, out)
    card = ModelCard(
        base=base.name,
        fingerprint=_fingerprint(model, out, base, max_tokens),
        dim=model.width,
        max_tokens=max_tokens,
        pooling=base.pooling,
        gap=model.gap.at if model.gap else None,
        query_prefix=base.query_prefix,
        pad_id=int(tokenizer.pad_token_id or 0),
        heads=[model.fitted(spec) for spec in model.specs.values() if spec.kind != "mlm"],
        runtime="torch" if torch_only else "onnx",
    )
    write_card(out, card)
    served = TextModel.open(out)
    _compare(model, feed, served)
    selftest.write(out, served.probe)
    return served


def write_card(out: Path, card: ModelCard) -> None:
    """Write `model.json`."""
    (out / CARD).write_text(card.model_dump_json(indent=1), "utf-8")


def with_heads(out: Path, heads: list[HeadSpec]) -> None:
    """Replace the heads' temperatures and thresholds in the card; the graph stays as it is."""
    card = ModelCard.read(out)
    write_card(out, card.model_copy(update={"heads": heads}))


def _write_weights(model: HeadedModel, base: Base, out: Path, max_tokens: int) -> None:
    save_encoder(model.encoder, out)
    # The head that finds hidden words is not served, but the next pre-training may begin with it.
    hidden = {spec.name for spec in model.specs.values() if spec.kind == "mlm"}
    for file in (HEADS, HIDDEN_WORDS):
        weights = model.heads.state_dict().items()
        heads = {n: p for n, p in weights if (n.split(".")[0] in hidden) == (file == HIDDEN_WORDS)}
        if heads or file == HEADS:
            save_file({n: p.detach().contiguous() for n, p in heads.items()}, out / file)
    if model.gap is not None:
        save_file({n: p.detach().contiguous() for n, p in model.gap.state_dict().items()}, out / GAP)
        return  # no other program reads vectors so
    if not (out / BASE).is_dir():  # nor where parts stand beside the base
        sentence_folder.write(
            out,
            pooling=base.pooling,
            width=model.width,
            max_tokens=max_tokens,
            query_prefix=base.query_prefix,
        )


def _write_tokenizer(tokenizer: PreTrainedTokenizerBase, base: Base, out: Path, max_tokens: int) -> None:
    if not getattr(tokenizer, "is_fast", False):
        raise BadInput(f'base {base.name} has no fast tokenizer; serve it with runtime.engine = "torch"')
    tokenizer.save_pretrained(out)
    # Some shipped files pad every text to a fixed length and cut at it: a short text would cost 128 tokens.
    clean = Tokenizer.from_file(str(out / TOKENIZER))
    clean.no_padding()
    clean.enable_truncation(max_tokens)
    clean.save(str(out / TOKENIZER))


def _paired(model: HeadedModel) -> bool:
    return any(spec.kind in PAIRED for spec in model.specs.values())


def _write_graph(model: HeadedModel, feed: Feed, out: Path) -> None:
    from transformers.exporters import OnnxConfig, OnnxExporter

    texts = ["one text", "a longer text, so that the trace sees padding"]
    sample = feed(texts, texts if _paired(model) else None).tensors
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
    if model.gap is not None:
        digest.update((out / GAP).read_bytes())
    digest.update(json.dumps([base.pooling, max_tokens]).encode())
    return digest.hexdigest()[:32]


def _compare(model: HeadedModel, feed: Feed, served: TextModel) -> None:
    texts = list(selftest.TEXTS)
    paired = _paired(model)
    fed = feed(texts, texts[::-1] if paired else None, windows=served.windows)
    with torch.inference_mode():
        expected = Served(model)(**fed.tensors)
    got = served.probe(texts)
    first = [fed.origin.index(i) for i in range(len(texts))]  # a long passage has several windows
    mask = fed.tensors["attention_mask"].numpy()[first]
    for name, rows in expected.items():
        wanted = rows.numpy()[first] * (mask[..., None] if rows.ndim == 3 else 1)
        if got[name].shape != wanted.shape:
            raise Damaged(
                f"the exported head {name!r} gives {got[name].shape}, the trained one {wanted.shape}"
            )
        off = float((np.abs(got[name] - wanted) / np.maximum(1.0, np.abs(wanted))).max())
        if not off <= DRIFT:
            raise Damaged(f"the exported graph's head {name!r} differs from the trained one by {off:.2g}")
