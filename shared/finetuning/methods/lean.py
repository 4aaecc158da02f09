"""Few trained weights as a technique: dress the body, and for AdaLoRA share out its ranks."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from shared.finetuning.backbone import HeadedModel
from shared.finetuning.methods.bodies import dress
from shared.finetuning.methods.technique import Batch, Pass, Technique
from shared.finetuning.recipe import Recipe

_FILE = "ranks.safetensors"


class Lean(Technique):
    """LoRA, prefix, prompt or bottleneck adapters: the weights of the method and the heads are trained."""

    def __init__(self, steps: int) -> None:
        self._steps = steps

    def prepare(self, model: HeadedModel, recipe: Recipe) -> None:
        """Add the method's weights to the body and leave the others at rest."""
        device = next(model.parameters()).device
        model.encoder = dress(model.encoder, recipe.method, steps=self._steps).to(device)


class AdaLora(Lean):
    """AdaLoRA (Zhang et al. 2023): ranks move to where they matter, and A and B stay near orthogonal."""

    def prepare(self, model: HeadedModel, recipe: Recipe) -> None:
        """Add the matrices."""
        super().prepare(model, recipe)
        dressed: Any = model.encoder
        self._lora = dressed.base_model
        self._config = self._lora.peft_config["default"]

    def extra_loss(self, model: HeadedModel, batch: Batch, outputs: Pass) -> Tensor:
        """Return the penalty on matrices that are not orthogonal: once a step, whatever the accumulation.

        peft adds it to the loss that a model returns; an encoder returns none, and the loop would not
        divide it.
        """
        apart = [
            torch.linalg.matrix_norm(
                (p @ p.T if "lora_A" in name else p.T @ p) - torch.eye(min(p.shape)).to(p)
            )
            for name, p in self._lora.named_parameters()
            if "lora_A" in name or "lora_B" in name
        ]
        penalty: Tensor = self._config.orth_reg_weight * torch.stack(apart).mean()
        return penalty * len(batch["labels"])

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Share out the ranks; the gradients are still there. peft leaves this call to the loop."""
        self._lora.update_and_allocate(state.global_step + 1)

    def save(self, folder: Path) -> None:
        """Write what the allocator remembers."""
        ranks = self._lora.rankallocator
        means = {f"{n}|mean": t for n, t in ranks.exp_avg_ipt.items()}
        spreads = {f"{n}|spread": t for n, t in ranks.exp_avg_unc.items()}
        pattern = {"pattern": json.dumps(self._config.rank_pattern)}
        save_file({**means, **spreads, "": torch.zeros(1)}, folder / _FILE, pattern)

    def load(self, folder: Path) -> None:
        """Read it back."""
        ranks = self._lora.rankallocator
        places = dict(self._lora.model.named_parameters())
        with safe_open(folder / _FILE, "pt") as stored:
            self._config.rank_pattern = json.loads(stored.metadata()["pattern"])
            for key in stored.keys():  # noqa: SIM118  # no mapping
                name, _, kind = key.partition("|")
                if name:
                    value = stored.get_tensor(key).to(places[name].device)
                    (ranks.exp_avg_ipt if kind == "mean" else ranks.exp_avg_unc)[name] = value
                    ranks.ipt[name] = torch.zeros_like(value)
