"""The model as trained: an encoder, a pooling, and one linear layer per head that has labels."""

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoConfig, AutoModel

from shared.finetuning.examples import KEPT
from shared.finetuning.quiet import quiet
from shared.finetuning.recipe import Head
from shared.models.heads import HeadSpec


class HeadedModel(nn.Module):
    """Encoder -> pooled unit vector -> heads. `forward` of a training batch returns `{"loss"}`.

    Heads read the unit vector, so that what a head learns and what an index compares is one thing.
    """

    # The Trainer then passes the rows of the whole step, over all its micro-batches and processes, and
    # leaves the scaling to us. A head that drops that number gets a gradient too large by the number of
    # micro-batches (huggingface/transformers 47688).
    accepts_loss_kwargs = True

    def __init__(
        self,
        encoder: nn.Module,
        pooling: str,
        specs: list[HeadSpec],
        recipes: Mapping[str, Head],
        *,
        label_smoothing: float = 0.0,
        contrast: float = 0.0,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.pooling = pooling
        self.specs = {spec.name: spec for spec in specs}
        self.recipes = dict(recipes)
        self.label_smoothing = label_smoothing
        self.contrast = contrast
        self.width = int(encoder.config.hidden_size)  # type: ignore[union-attr, arg-type]
        self.heads = nn.ModuleDict({s.name: nn.Linear(self.width, len(s.labels)) for s in specs if s.labels})

    def vectors(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return unit vectors (rows, width) of token ids and mask, both (rows, tokens)."""
        tokens = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        if self.pooling == "cls":
            pooled = tokens[:, 0]
        else:
            mask = attention_mask.unsqueeze(-1).to(tokens.dtype)
            pooled = (tokens * mask).sum(1) / mask.sum(1).clamp(min=1e-9)
        return functional.normalize(pooled.float(), dim=-1)

    def outputs(self, vectors: Tensor) -> dict[str, Tensor]:
        """Return one output per head: the vectors for embed, logits (rows, labels) for the others."""
        return {n: self.heads[n](vectors) if s.labels else vectors for n, s in self.specs.items()}

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        targets: Mapping[str, Mapping[str, Tensor]],
        labels: Tensor,
        num_items_in_batch: Tensor | int | None = None,
    ) -> dict[str, Any]:
        """Return the sum of all rows' losses over the rows of the step; a row without a head adds none.

        `labels` has one 1 per row: it is what the Trainer counts. Contrastive negatives come from the
        micro-batch; their sum over anchors is scaled like the others.
        """
        vectors = self.vectors(input_ids, attention_mask)
        loss = vectors.sum() * 0.0
        for name, target in targets.items():
            loss = loss + (self._kept(vectors, target) if name == KEPT else self._loss(name, vectors, target))
        return {"loss": loss / (len(labels) if num_items_in_batch is None else num_items_in_batch)}

    def _kept(self, vectors: Tensor, target: Mapping[str, Tensor]) -> Tensor:
        # 1 - cosine: both sides are unit length.
        keep = max(recipe.keep for recipe in self.recipes.values())
        return keep * (1 - (vectors[target["rows"]] * target["kept"]).sum(-1)).sum()

    def _loss(self, name: str, vectors: Tensor, target: Mapping[str, Tensor]) -> Tensor:
        spec, recipe = self.specs[name], self.recipes[name]
        if spec.kind == "embed":
            return recipe.weight * contrastive_loss(vectors, target, recipe.scale)
        rows, labels = vectors[target["rows"]], target["labels"]
        logits = self.heads[name](rows)
        if spec.kind == "multilabel":
            loss = functional.binary_cross_entropy_with_logits(logits, labels, reduction="none")
            return recipe.weight * loss.mean(1).sum()
        smoothing = self.label_smoothing
        loss = functional.cross_entropy(logits, labels, label_smoothing=smoothing, reduction="sum")
        if self.contrast:
            loss = loss + self.contrast * supervised_contrastive_loss(rows, labels)
        return recipe.weight * loss


def load_encoder(folder: Path) -> nn.Module:
    """Load a Hugging Face encoder in float32, without the pooler that no head reads."""
    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    options: dict[str, Any] = {"config": config, "local_files_only": True, "use_safetensors": True}
    kind = AutoModel._model_mapping[type(config)]
    if "add_pooling_layer" in inspect.signature(kind.__init__).parameters:
        options["add_pooling_layer"] = False
    with quiet():
        encoder: nn.Module = AutoModel.from_pretrained(folder, dtype=torch.float32, **options)
    return encoder


def contrastive_loss(vectors: Tensor, target: Mapping[str, Tensor], temperature: float) -> Tensor:
    """Return the cross-entropy of finding each positive among all candidates, summed over anchors.

    In-batch negatives (Henderson et al. 2017); candidates are the positives, then the negatives. A
    candidate that is the same text as an anchor's own positive, or belongs to the same group, is no
    negative and is masked.
    """
    anchors, candidates = vectors[target["anchors"]], vectors[target["candidates"]]
    scores = anchors @ candidates.T / temperature  # (anchors, candidates)
    same = target["anchor_groups"].unsqueeze(1) == target["candidate_groups"].unsqueeze(0)
    own = torch.zeros_like(same)
    places = torch.arange(len(anchors), device=scores.device)
    own[places, places] = True
    scores = scores.masked_fill(same & ~own, float("-inf"))
    return functional.cross_entropy(scores, places, reduction="sum")


def supervised_contrastive_loss(vectors: Tensor, labels: Tensor, temperature: float = 0.07) -> Tensor:
    """Return the loss of Khosla et al. 2020 (their sum outside the logarithm), summed over rows.

    Rows without a partner of their label add nothing; without any pair it is 0.
    """
    count = len(labels)
    itself = torch.eye(count, dtype=torch.bool, device=vectors.device)
    scores = (vectors @ vectors.T / temperature).masked_fill(itself, -1e9)
    logs = scores - torch.logsumexp(scores, dim=1, keepdim=True)
    partners = (labels.unsqueeze(0) == labels.unsqueeze(1)) & ~itself
    has = partners.any(1)
    if not bool(has.any()):
        return vectors.sum() * 0.0
    means = (logs * partners).sum(1)[has] / partners.sum(1)[has]
    return -means.sum()
