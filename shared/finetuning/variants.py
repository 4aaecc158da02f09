"""The exported graph in every engine and precision that this machine can make; needs no torch."""

import contextlib
import importlib.util
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from shared.errors import Unavailable
from shared.models import openvino_engine
from shared.models.batching import IntArray
from shared.models.card import GRAPH
from shared.models.engines import Engine, OnnxEngine
from shared.models.openvino_engine import OpenVinoEngine

Fed = tuple[IntArray, IntArray, IntArray | None]  # ids, mask and, for pairs, types, each (1, tokens)
SUBSET = 150  # texts that static quantisation looks at


@dataclass(frozen=True)
class Variant:
    """One way to run the graph; `path` is relative to the model folder."""

    name: str
    engine: Literal["onnx", "openvino"]
    precision: Literal["fp32", "int8", "bf16"]
    path: str
    make: Callable[[Path, Path, Sequence[Fed]], None] | None = None

    def build(self, folder: Path, samples: Sequence[Fed]) -> None:
        """Write the variant's graph into the model folder, where it needs one of its own."""
        if self.make is not None:
            target = folder / self.path
            target.parent.mkdir(parents=True, exist_ok=True)
            with quiet():
                self.make(folder / GRAPH, target, samples)

    def open(self, folder: Path, threads: int) -> Engine:
        """Open the graph; raises Damaged."""
        if self.engine == "onnx":
            return OnnxEngine.load(folder / self.path, threads)
        compute: Any = "bf16" if self.precision == "bf16" else "f32"
        return OpenVinoEngine.load(folder / self.path, threads, compute)


def variants() -> list[Variant]:
    """Return what can be made here, the exported graph first; OpenVINO only where it is installed."""
    found = [
        Variant("onnx fp32", "onnx", "fp32", GRAPH),
        Variant("onnx int8", "onnx", "int8", "slots/onnx-int8/model.onnx", _onnx_int8),
        Variant("onnx int8 in part", "onnx", "int8", "slots/onnx-int8-part/model.onnx", _onnx_int8_part),
    ]
    if openvino_engine.installed():
        found.append(Variant("openvino fp32", "openvino", "fp32", GRAPH))
        if openvino_engine.computes_bf16():
            found.append(Variant("openvino bf16", "openvino", "bf16", GRAPH))
        if importlib.util.find_spec("nncf") is not None:
            path = "slots/openvino-int8/model.xml"
            found.append(Variant("openvino int8", "openvino", "int8", path, _openvino_int8))
    return found


def _onnx_int8(source: Path, target: Path, samples: Sequence[Fed], leave: Sequence[str] = ()) -> None:
    # Per channel always: one scale for a whole weight moves vectors to a cosine of .87.
    try:
        from onnxruntime.quantization import QuantType, quantize_dynamic
    except ImportError as error:  # it needs the package onnx
        raise Unavailable(f'int8 needs {error.name}; install the extra "compress"') from error
    quantize_dynamic(
        source,
        target,
        op_types_to_quantize=["MatMul", "Gemm"],
        per_channel=True,
        weight_type=QuantType.QInt8,
        nodes_to_exclude=list(leave),
    )


def _onnx_int8_part(source: Path, target: Path, samples: Sequence[Fed]) -> None:
    # What a feed-forward layer's second product reads has outliers that one dynamic scale can't hold:
    # the first half of these kept in fp32 gives most of the lost neighbours back.
    narrowing = _narrowing(source)
    _onnx_int8(source, target, samples, narrowing[: (len(narrowing) + 1) // 2])


def _narrowing(source: Path) -> list[str]:
    """Return the products whose weight has at least twice as many rows as columns, in the graph's order."""
    import onnx

    graph = onnx.load(source, load_external_data=False).graph
    shapes = {one.name: tuple(one.dims) for one in graph.initializer}
    found = []
    for node in graph.node:
        shape = shapes.get(node.input[1], ()) if node.op_type in ("MatMul", "Gemm") else ()
        if len(shape) == 2 and shape[0] >= 2 * shape[1] and shape[1] >= 32:  # heads are narrow too
            found.append(node.name)
    return found


def _openvino_int8(source: Path, target: Path, samples: Sequence[Fed]) -> None:
    openvino = openvino_engine.openvino()
    import nncf

    nncf.set_log_level(logging.ERROR)
    core = openvino.Core()
    model = core.read_model(source)
    names = [next(iter(port.names)) for port in model.inputs]

    def fed(one: Fed) -> dict[str, IntArray]:
        ids, mask, types = one
        every = {"input_ids": ids, "attention_mask": mask}
        every["token_type_ids"] = np.zeros_like(ids) if types is None else types
        return {name: every[name] for name in names}

    data = nncf.Dataset(list(samples[:SUBSET]), fed)
    quantised = nncf.quantize(
        model, data, subset_size=min(SUBSET, len(samples)), model_type=nncf.ModelType.TRANSFORMER
    )
    openvino.save_model(quantised, target, compress_to_fp16=False)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the quantisers' progress bars off stdout and their advice out of the root logger."""
    root, handler = logging.getLogger(), logging.NullHandler()
    root.addHandler(handler)  # else the root's first message would install a handler for good
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with Path(os.devnull).open("w", encoding="utf-8") as nowhere, contextlib.redirect_stdout(nowhere):
            yield
    finally:
        logging.disable(before)
        root.removeHandler(handler)
