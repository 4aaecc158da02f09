"""The torch runtime: serves a model folder with torch, on a GPU where there is one.

Nothing imports this module statically: `TextModel.load(…, engine="torch")` loads it by name, so that
serving stays free of torch unless the settings ask for it.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from shared.errors import Damaged
from shared.finetuning.backbone import HeadedModel
from shared.finetuning.methods.stored import load_whole
from shared.models.batching import IntArray
from shared.models.card import GAP, HEADS, RESTORE, ModelCard
from shared.models.heads import FloatArray
from shared.models.sparse import dense


class TorchEngine:
    """The trained model itself, in float32."""

    def __init__(self, model: HeadedModel, device: torch.device) -> None:
        self._model = model.eval().to(device)
        self._device = device

    def run(self, ids: IntArray, mask: IntArray, types: IntArray | None = None) -> Mapping[str, FloatArray]:
        """Return the raw outputs by head; rows keep their order."""
        parts = (ids, mask) if types is None or not self._model.typed else (ids, mask, types)
        with torch.inference_mode():
            fed = [torch.from_numpy(part).to(self._device) for part in parts]
            tokens = self._model.tokens(*fed)
            outputs = self._model.outputs(tokens, self._model.pooled(tokens, fed[1]))
        return {name: np.asarray(rows.float().cpu().numpy(), np.float32) for name, rows in outputs.items()}


def load(path: Path, threads: int) -> TorchEngine:
    """Load encoder and heads of a model folder; `threads` holds for the whole process, as torch has it.

    Raises Damaged when the weights can't be read or don't fit the card.
    """
    torch.set_num_threads(threads)
    return TorchEngine(load_model(path), torch.device("cuda" if torch.cuda.is_available() else "cpu"))


def load_model(path: Path) -> HeadedModel:
    """Return the trained model of a folder, on the CPU; raises Damaged as `load` does."""
    card = ModelCard.read(path)
    try:
        with dense(path) as whole:
            model = HeadedModel(load_whole(whole), card.pooling, card.heads, {}, gap=card.gap)
            model.heads.load_state_dict(load_file(whole / HEADS))
            if model.gap is not None:
                model.gap.load_state_dict(load_file(whole / GAP))
    except (OSError, RuntimeError, SafetensorError) as error:
        raise Damaged(f"the weights in {path} can't be read: {error}; {RESTORE}") from error
    return model.eval()
