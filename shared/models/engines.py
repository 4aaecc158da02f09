"""What runs a graph: ONNX Runtime here, OpenVINO and torch behind the same protocol."""

import importlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import onnxruntime

from shared.errors import Damaged, Unavailable
from shared.models.batching import IntArray
from shared.models.card import RESTORE
from shared.models.heads import FloatArray

# "auto" serves the slot that was asked for; "onnx" the exported graph as it is; "torch" the trained weights.
Runtime = Literal["auto", "onnx", "torch"]


class Engine(Protocol):
    """Runs a graph. `run` takes ids, mask and, for pairs of texts, which of the two a token belongs to, all
    (rows, tokens) int64, and gives one array (rows, …) per head. Safe to call from several threads."""

    def run(self, ids: IntArray, mask: IntArray, types: IntArray | None = None) -> Mapping[str, FloatArray]:
        """Return the raw outputs by head; rows keep their order."""


class OnnxEngine:
    """A graph in ONNX Runtime on CPU; safe to call from several threads."""

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

    def run(self, ids: IntArray, mask: IntArray, types: IntArray | None = None) -> Mapping[str, FloatArray]:
        """Return the raw outputs by head; rows keep their order."""
        fed = feed(self._inputs, ids, mask, types)
        return dict(zip(self._outputs, self._session.run(self._outputs, fed), strict=True))


def feed(inputs: set[str], ids: IntArray, mask: IntArray, types: IntArray | None) -> dict[str, IntArray]:
    """Return what a graph with these inputs is fed; without `types` every token belongs to the first text."""
    fed = {"input_ids": ids, "attention_mask": mask}
    if "token_type_ids" in inputs:
        fed["token_type_ids"] = np.zeros_like(ids) if types is None else types
    return fed


def torch_engine(path: Path, threads: int) -> Engine:
    """Load the trained weights of a model folder; raises Unavailable where torch is not installed."""
    # By name: an import would pull torch into every serving process.
    try:
        module = importlib.import_module("shared.finetuning.torch_engine")
    except ModuleNotFoundError as error:
        raise Unavailable(
            f'the torch runtime needs {error.name}; install the extra "train", or serve a model that has '
            'a graph with runtime.engine = "auto"'
        ) from error
    engine: Engine = module.load(path, threads)
    return engine


def usable_cores() -> int:
    """Return how many cores this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1
