"""Which graph of a model folder serves, and in which engine: the slot asked for, where it can run here."""

from dataclasses import dataclass, replace
from pathlib import Path

from shared.models import openvino_engine
from shared.models.card import GRAPH, SELF_TEST, ModelCard, Slot, SlotName
from shared.models.engines import Engine, OnnxEngine, Runtime, torch_engine, usable_cores
from shared.models.openvino_engine import OpenVinoEngine
from shared.models.selftest import TOLERANCE
from shared.telemetry import logger

_LOG = logger(__name__)


@dataclass(frozen=True)
class Opened:
    """An engine, the card with the calibration that fits it, and the self-test it must pass."""

    engine: Engine
    card: ModelCard
    served_by: str
    self_test: str = SELF_TEST
    tolerance: float = TOLERANCE


def open_engine(path: Path, slot: SlotName, runtime: Runtime, threads: int | None) -> Opened:
    """Open what serves the model folder `path`; raises NotFound, Damaged, and Unavailable without torch.

    Runtime "auto" takes the slot. A model without a bulk slot serves bulk work with its interactive one; a
    slot of OpenVINO gives way to the interactive one, or to the exported graph, where that package is not
    installed. A slot's own number of threads is cut to the usable cores; `threads` overrules it.
    """
    card = ModelCard.read(path)
    if "torch" in (runtime, card.runtime):
        return Opened(torch_engine(path, threads or usable_cores()), card, "torch fp32")
    chosen = _choose(card, slot) if runtime == "auto" else None
    if chosen is None:
        engine = OnnxEngine.load(path / GRAPH, threads or usable_cores())
        return Opened(engine, card, "onnx fp32")
    opened = open_slot(path, chosen, threads)
    heads = [chosen.calibrated(head) for head in card.heads]
    return replace(opened, card=card.model_copy(update={"heads": heads}))


def open_slot(path: Path, slot: Slot, threads: int | None = None) -> Opened:
    """Open a slot's graph, calibration left as the card has it; raises Damaged."""
    count = threads or min(slot.threads, usable_cores())
    engine: Engine
    if slot.engine == "openvino":
        engine = OpenVinoEngine.load(path / slot.path, count, "bf16" if slot.precision == "bf16" else "f32")
    else:
        engine = OnnxEngine.load(path / slot.path, count)
    served_by = f"{slot.engine} {slot.precision}"
    return Opened(engine, ModelCard.read(path), served_by, slot.self_test, slot.tolerance)


def _choose(card: ModelCard, name: SlotName) -> Slot | None:
    wanted = [card.slots[one] for one in (name, "interactive") if one in card.slots]
    runs = [slot for slot in wanted if slot.engine != "openvino" or openvino_engine.installed()]
    found = runs[0] if runs else None
    if wanted and found != wanted[0]:
        instead = "the interactive slot" if found else "the exported graph in ONNX Runtime"
        _LOG.warning(
            f"OpenVINO is not installed, {instead} serves; install the extra openvino",
            base=card.base,
            slot=name,
        )
    return found
