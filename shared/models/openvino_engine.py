"""OpenVINO on CPU: the fastest for many texts, where the package is installed (extra "openvino")."""

import importlib
import importlib.util
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import numpy as np

from shared.errors import Damaged
from shared.models.batching import IntArray
from shared.models.card import RESTORE
from shared.models.engines import feed
from shared.models.heads import FloatArray

ComputeType = Literal["f32", "bf16"]


def installed() -> bool:
    """Return whether OpenVINO can be imported; imports nothing."""
    return importlib.util.find_spec("openvino") is not None


def openvino() -> ModuleType:
    """Import OpenVINO without its telemetry.

    `import openvino` reports to its maker over the network as long as the package openvino_telemetry can
    be imported; without it OpenVINO and NNCF take the silent stand-in that they bring along.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None: can't be imported
    return importlib.import_module("openvino")


def computes_bf16() -> bool:
    """Return whether OpenVINO computes in bf16 on this processor (avx512_bf16 or AMX)."""
    return "BF16" in openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


class OpenVinoEngine:
    """A graph in OpenVINO on CPU; safe to call from several threads, each with a request of its own."""

    def __init__(self, compiled: Any) -> None:
        self._compiled = compiled
        self._inputs = {name for port in compiled.inputs for name in port.names}
        self._outputs = [(next(iter(port.names)), port) for port in compiled.outputs]
        self._own = threading.local()

    @classmethod
    def load(cls, path: Path, threads: int, compute: ComputeType) -> "OpenVinoEngine":
        """Open a graph of OpenVINO (`.xml`) or ONNX; raises Damaged when OpenVINO can't.

        `compute` is the type between the layers that are not int8. Left alone, OpenVINO takes bf16 where
        the processor has it and f32 elsewhere: the same file would give other numbers. A processor
        without bf16 computes "bf16" in f32.
        """
        core = openvino().Core()
        if compute == "bf16" and not computes_bf16():
            compute = "f32"
        options = {
            "INFERENCE_PRECISION_HINT": compute,
            "INFERENCE_NUM_THREADS": threads,
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
        }
        try:
            return cls(core.compile_model(core.read_model(path), "CPU", options))
        except Exception as error:  # OpenVINO raises RuntimeError and its own classes
            raise Damaged(f"{path} can't be opened: {error}; {RESTORE}") from error

    def run(self, ids: IntArray, mask: IntArray, types: IntArray | None = None) -> Mapping[str, FloatArray]:
        """Return the raw outputs by head; rows keep their order."""
        request = getattr(self._own, "request", None)
        if request is None:
            request = self._own.request = self._compiled.create_infer_request()
        found = request.infer(feed(self._inputs, ids, mask, types), share_inputs=True, share_outputs=True)
        # Copies: the request writes its next answer over this one.
        return {name: np.array(found[port], np.float32) for name, port in self._outputs}
