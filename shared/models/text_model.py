"""A served model: one forward pass fills every head."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers

from shared.errors import Conflict, Damaged
from shared.models import selftest
from shared.models.batching import batches, pad
from shared.models.card import RESTORE, TOKENIZER, ModelCard, SlotName
from shared.models.engines import Engine, Runtime
from shared.models.heads import BY_TOKEN, PAIRED, FloatArray, HeadSpec
from shared.models.slots import open_engine
from shared.models.spans import Offsets
from shared.models.sparse import dense

STRIDE = 4  # windows of a long passage overlap by the fourth part of the model's length
_PLACES = {
    "embed": "embed",
    "classify": "probabilities",
    "multilabel": "probabilities",
    "regress": "values",
    "score": "values",
    "similarity": "values",
}


@dataclass(frozen=True)
class Outputs:
    """What a model says of n texts.

    `vectors` (n, dim) are of unit length, None without an embed head. By head: calibrated
    `probabilities` (n, labels) of classify and multilabel; `values` (n,) of regress and score;
    `tokens` (n, longest, width), the raw numbers per token of tag, entity and span, zero behind a text's
    end. `offsets` has, where such a head is, for each text the characters (start, end) of its tokens.
    """

    vectors: FloatArray | None
    probabilities: dict[str, FloatArray] = field(default_factory=dict)
    values: dict[str, FloatArray] = field(default_factory=dict)
    tokens: dict[str, FloatArray] = field(default_factory=dict)
    offsets: list[Offsets] = field(default_factory=list)


class TextModel:
    """A backbone with heads, as served. Made by `load`; holds no torch.

    `fingerprint` says which vectors may meet, `served_by` which engine and precision gave them.
    """

    def __init__(
        self,
        card: ModelCard,
        tokenizer: tokenizers.Tokenizer,
        engine: Engine,
        served_by: str = "onnx fp32",
    ) -> None:
        self.card, self.served_by = card, served_by
        self.fingerprint, self.dim = card.fingerprint, card.dim
        self.max_tokens, self.query_prefix = card.max_tokens, card.query_prefix
        self.heads: dict[str, HeadSpec] = {head.name: head for head in card.heads}
        self._tokenizer = tokenizer
        self._engine = engine
        self.windows = any(head.kind == "span" for head in card.heads)
        self._uncut = tokenizers.Tokenizer.from_str(tokenizer.to_str()) if self.windows else tokenizer
        if self.windows:  # the question stays whole, the passage comes in windows that overlap by a quarter
            tokenizer.enable_truncation(
                card.max_tokens, stride=card.max_tokens // STRIDE, strategy="only_second"
            )
            self._uncut.no_truncation()

    @classmethod
    def load(
        cls,
        path: Path,
        *,
        slot: SlotName = "interactive",
        threads: int | None = None,
        engine: Runtime = "auto",
    ) -> "TextModel":
        """Load a model folder and run its self-test.

        `slot` "interactive" answers single texts quickest, "bulk" many texts; a model that `compress` has
        not seen has neither, and its exported graph serves. `threads` is by default what the slot was
        measured best with, at most the usable cores. `engine` "onnx" serves the exported graph whatever
        slots there are, "torch" the trained weights; it needs torch installed.
        Raises NotFound when the folder is no model, Damaged when a file is broken or the stored
        texts don't give their stored outputs.
        """
        with dense(path) as whole:
            opened = open_engine(whole, slot, engine, threads)
        tokenizer = load_tokenizer(path / TOKENIZER, opened.card.max_tokens)
        model = cls(opened.card, tokenizer, opened.engine, opened.served_by)
        selftest.check(path, model.probe, opened.self_test, opened.tolerance)
        return model

    @classmethod
    def open(cls, path: Path, *, threads: int | None = None, engine: Runtime = "onnx") -> "TextModel":
        """Load without the self-test, by default the exported graph: for the export, which writes it."""
        with dense(path) as whole:
            opened = open_engine(whole, "interactive", engine, threads)
        tokenizer = load_tokenizer(path / TOKENIZER, opened.card.max_tokens)
        return cls(opened.card, tokenizer, opened.engine, opened.served_by)

    def run(
        self, texts: Sequence[str], *, pairs: Sequence[str] | None = None, query: bool = False
    ) -> Outputs:
        """Answer all heads in one pass; row i belongs to text i (with `pairs[i]` for heads that speak of two
        texts), no texts give arrays of no rows. Without pairs similarity heads say nothing. Raises Conflict
        for pairs where none are read, or missing where heads read both texts together."""
        apart = pairs if self.compares else None
        encodings = self.encode(texts, pairs=None if apart is not None else pairs, query=query)
        raw = self.raw(encodings)
        return self.outputs(encodings, raw if apart is None else self.with_similarity(raw, apart))

    def outputs(self, encodings: Sequence[tokenizers.Encoding], raw: Mapping[str, FloatArray]) -> Outputs:
        """Return what the numbers that `raw` gave for `encodings` say."""
        by_kind: dict[str, dict[str, FloatArray]] = {
            "embed": {},
            "probabilities": {},
            "values": {},
            "tokens": {},
        }
        for name in (one for one in self.heads if one in raw):
            head = self.heads[name]
            by_kind[_PLACES.get(head.kind, "tokens")][name] = (
                raw[name] if head.kind in BY_TOKEN else head.decode(raw[name])
            )
        return Outputs(
            next(iter(by_kind["embed"].values()), None),
            by_kind["probabilities"],
            by_kind["values"],
            by_kind["tokens"],
            [encoding.offsets for encoding in encodings] if by_kind["tokens"] else [],
        )

    def embed(self, texts: Sequence[str], *, query: bool = False) -> FloatArray:
        """Return unit-length vectors (n, dim); raises Conflict when the model has no embed head."""
        vectors = self.run(texts, query=query).vectors
        if vectors is None:
            raise Conflict(
                f"this model has no embed head, only {', '.join(self.heads)}; add one to its recipe"
            )
        return vectors

    def logits(
        self, texts: Sequence[str], *, pairs: Sequence[str] | None = None, query: bool = False
    ) -> dict[str, FloatArray]:
        """Return what the graph gives by head: vectors (n, dim) for embed, numbers (n, width) that are not
        calibrated else; (n, longest, width), zero behind a text's end, for heads that speak of tokens."""
        if pairs is None or not self.compares:
            return self.raw(self.encode(texts, pairs=pairs, query=query))
        return self.with_similarity(self.raw(self.encode(texts, query=query)), pairs)

    def with_similarity(self, raw: dict[str, FloatArray], pairs: Sequence[str]) -> dict[str, FloatArray]:
        """Return `raw` of texts with the numbers (n, 1) of similarity heads for each text and its pair."""
        (vector,) = (name for name, head in self.heads.items() if head.kind == "embed")
        others = self.raw(self.encode(pairs))[vector]
        heads = {name: head for name, head in self.heads.items() if head.kind == "similarity"}
        return {**raw, **{name: head.compared(raw[vector], others) for name, head in heads.items()}}

    def probe(self, texts: Sequence[str]) -> dict[str, FloatArray]:
        """Return `logits` of the texts, each with the text at the other end where pairs are read: what the
        self-test stores and compares."""
        return self.logits(texts, pairs=texts[::-1] if self.paired else None)

    @property
    def paired(self) -> bool:
        """Whether the heads read two texts together."""
        return any(head.kind in PAIRED for head in self.heads.values())

    @property
    def compares(self) -> bool:
        """Whether a head compares the vectors of two texts."""
        return any(head.kind == "similarity" for head in self.heads.values())

    def encode(
        self, texts: Sequence[str], *, pairs: Sequence[str] | None = None, query: bool = False
    ) -> list[tokenizers.Encoding]:
        """Return the tokens of each text, or of each text with its pair, cut at `max_tokens`."""
        if self.paired != (pairs is not None):
            raise Conflict(
                "this model reads pairs of texts; give both"
                if self.paired
                else "this model reads single texts"
            )
        own = [self.query_prefix + text for text in texts] if query else list(texts)
        if self.windows:
            own = [self._shortened(text) for text in own]
        fed: Any = own if pairs is None else list(zip(own, pairs, strict=True))
        return self._tokenizer.encode_batch(fed)

    def _shortened(self, question: str) -> str:
        most = self.max_tokens // 2
        offsets = self._uncut.encode(question, add_special_tokens=False).offsets
        return question if len(offsets) <= most else question[: offsets[most - 1][1]]

    def raw(
        self, encodings: Sequence[tokenizers.Encoding], *, done: Callable[[int], None] | None = None
    ) -> dict[str, FloatArray]:
        """Return the graph's numbers for tokens as `encode` gives them; shapes as in `logits`. Similarity
        heads, which compare two texts' vectors, are not among them. `done` hears how many more were read."""
        count, longest = len(encodings), max((len(e.ids) for e in encodings), default=0)
        found = {
            name: np.zeros(
                (count, longest, head.width(self.dim))
                if head.kind in BY_TOKEN
                else (count, head.width(self.dim)),
                np.float32,
            )
            for name, head in self.heads.items()
            if head.kind != "similarity"
        }
        for batch in batches([len(e.ids) for e in encodings]):
            ids, mask = pad([encodings[i].ids for i in batch], self.card.pad_id)
            types = pad([encodings[i].type_ids for i in batch], 0)[0] if self.paired else None
            for name, values in self._engine.run(ids, mask, types).items():
                if name in found and self.heads[name].kind in BY_TOKEN:
                    found[name][batch, : values.shape[1]] = values * mask[..., None]
                elif name in found:
                    found[name][batch] = values
            if done:
                done(len(batch))
        return found


def load_tokenizer(path: Path, max_tokens: int) -> tokenizers.Tokenizer:
    """Read tokenizer.json without padding, cutting at `max_tokens`.

    Some files ask for padding to a fixed length or cut earlier than their model does; both are
    overruled. Raises Damaged for a file that can't be read.
    """
    try:
        tokenizer = tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # the Rust library raises plain Exception
        raise Damaged(f"{path} can't be read: {error}; {RESTORE}") from error
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_tokens)
    return tokenizer
