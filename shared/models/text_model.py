"""A served model: one forward pass of ONNX Runtime fills every head."""

import importlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import onnxruntime
import tokenizers

from shared.errors import Conflict, Damaged, Unavailable
from shared.models import selftest
from shared.models.batching import IntArray, batches, pad
from shared.models.card import GRAPH, RESTORE, TOKENIZER, ModelCard
from shared.models.heads import FloatArray, HeadSpec

Runtime = Literal["onnx", "torch"]


@dataclass(frozen=True)
class Outputs:
    """What a model says of n texts: unit-length `vectors` (n, dim), or None without an embed head, and
    calibrated `probabilities` (n, labels) by head."""

    vectors: FloatArray | None
    probabilities: dict[str, FloatArray] = field(default_factory=dict)


class Engine(Protocol):
    """Runs the graph. `run` takes ids and mask (rows, tokens) and gives one array (rows, …) per head."""

    def run(self, ids: IntArray, mask: IntArray) -> Mapping[str, FloatArray]:
        """Return the raw outputs by head; rows keep their order."""


class OnnxEngine:
    """The exported graph in ONNX Runtime on CPU; safe to call from several threads."""

    def __init__(self, session: onnxruntime.InferenceSession) -> None:
        self._session = session
        self._inputs = {value.name for value in session.get_inputs()}
        self._outputs = [value.name for value in session.get_outputs()]

    @classmethod
    def load(cls, path: Path, threads: int) -> "OnnxEngine":
        """Open the graph; raises Damaged when ONNX Runtime can't."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        try:
            return cls(onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"]))
        except Exception as error:  # ONNX Runtime has no public base class of its errors
            raise Damaged(f"{path} can't be opened: {error}; {RESTORE}") from error

    def run(self, ids: IntArray, mask: IntArray) -> Mapping[str, FloatArray]:
        """Return the raw outputs by head; rows keep their order."""
        fed = {"input_ids": ids, "attention_mask": mask}
        if "token_type_ids" in self._inputs:
            fed["token_type_ids"] = np.zeros_like(ids)
        return dict(zip(self._outputs, self._session.run(self._outputs, fed), strict=True))


class TextModel:
    """A backbone with heads, as served. Made by `load`; holds no torch."""

    def __init__(self, card: ModelCard, tokenizer: tokenizers.Tokenizer, engine: Engine) -> None:
        self.card = card
        self.fingerprint, self.dim = card.fingerprint, card.dim
        self.max_tokens, self.query_prefix = card.max_tokens, card.query_prefix
        self.heads: dict[str, HeadSpec] = {head.name: head for head in card.heads}
        self._tokenizer = tokenizer
        self._engine = engine

    @classmethod
    def load(cls, path: Path, *, threads: int | None = None, engine: Runtime = "onnx") -> "TextModel":
        """Load a model folder and run its self-test on `threads` threads (by default the usable cores).

        `engine` "torch" serves the trained weights instead of the graph; it needs torch installed.
        Raises NotFound when the folder is no model, Damaged when a file is broken or the stored
        texts don't give their stored outputs.
        """
        model = cls.open(path, threads=threads, engine=engine)
        selftest.check(path, model.logits)
        return model

    @classmethod
    def open(cls, path: Path, *, threads: int | None = None, engine: Runtime = "onnx") -> "TextModel":
        """Load without the self-test: for the export, which writes it."""
        card, count = ModelCard.read(path), threads or usable_cores()
        runs = _torch_engine(path, count) if engine == "torch" else OnnxEngine.load(path / GRAPH, count)
        return cls(card, load_tokenizer(path / TOKENIZER, card.max_tokens), runs)

    def run(self, texts: Sequence[str], *, query: bool = False) -> Outputs:
        """Answer all heads in one pass; row i belongs to text i, no texts give arrays of no rows."""
        raw = self.logits(texts, query=query)
        vectors = [raw[name] for name, head in self.heads.items() if head.kind == "embed"]
        probabilities = {n: h.decode(raw[n]) for n, h in self.heads.items() if h.kind != "embed"}
        return Outputs(vectors[0] if vectors else None, probabilities)

    def embed(self, texts: Sequence[str], *, query: bool = False) -> FloatArray:
        """Return unit-length vectors (n, dim); raises Conflict when the model has no embed head."""
        vectors = self.run(texts, query=query).vectors
        if vectors is None:
            raise Conflict(
                f"this model has no embed head, only {', '.join(self.heads)}; add one to its recipe"
            )
        return vectors

    def logits(self, texts: Sequence[str], *, query: bool = False) -> dict[str, FloatArray]:
        """Return what the graph gives: vectors (n, dim) for embed, uncalibrated logits (n, labels) else."""
        rows = self._tokens([self.query_prefix + text for text in texts] if query else texts)
        found = {
            n: np.zeros((len(rows), len(h.labels) or self.dim), np.float32) for n, h in self.heads.items()
        }
        for batch in batches([len(row) for row in rows]):
            ids, mask = pad([rows[i] for i in batch], self.card.pad_id)
            for name, values in self._engine.run(ids, mask).items():
                if name in found:
                    found[name][batch] = values
        return found

    def _tokens(self, texts: Sequence[str]) -> list[list[int]]:
        return [encoding.ids for encoding in self._tokenizer.encode_batch(list(texts))]


def _torch_engine(path: Path, threads: int) -> Engine:
    # By name: an import would pull torch into every serving process.
    try:
        module = importlib.import_module("shared.finetuning.torch_engine")
    except ModuleNotFoundError as error:
        raise Unavailable(
            f'runtime.engine "torch" needs {error.name}; install the extra "train", or use "onnx"'
        ) from error
    engine: Engine = module.load(path, threads)
    return engine


def usable_cores() -> int:
    """Return how many cores this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


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
