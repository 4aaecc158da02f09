"""A model that was trained before, read from its folder: as the start of a training, or as a teacher."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from shared.artifacts.files import sha256_of
from shared.errors import BadInput, Damaged
from shared.finetuning import bases
from shared.finetuning.backbone import HeadedModel
from shared.finetuning.bases import KNOWN, Base
from shared.finetuning.examples import Example
from shared.models.card import HEADS, RESTORE, ModelCard
from shared.models.heads import LABELLED, FloatArray, HeadSpec


@dataclass(frozen=True)
class Earlier:
    """A model folder, its card, and a hash of what it answers with."""

    path: Path
    card: ModelCard
    sha256: str

    @classmethod
    def read(cls, folder: str) -> "Earlier":
        """Read a folder's card; raises NotFound for a folder without one, Damaged for a broken one."""
        path = Path(folder)
        card = ModelCard.read(path)
        told = card.fingerprint + (sha256_of(path / HEADS) if (path / HEADS).is_file() else "")
        return cls(path, card, hashlib.sha256(told.encode()).hexdigest())

    def base(self, home: Path) -> Base:
        """Return the folder as a base that keeps the name, licence and prefix of its own base.

        Raises what `bases.resolve` does, BadInput for one whose trained parts stand beside its base.
        """
        found = bases.resolve(str(self.path), home=home)
        known = KNOWN.get(self.card.base)
        return replace(
            found,
            name=self.card.base,
            pooling=self.card.pooling,
            query_prefix=self.card.query_prefix,
            licence=known.licence if known else found.licence,
            max_tokens=self.card.max_tokens,
        )

    def labels(self, kinds: Mapping[str, str]) -> dict[str, list[str]]:
        """Return the labels of its heads, of those whose name and kind are in `kinds`."""
        return {
            head.name: head.labels
            for head in self.card.heads
            if head.kind in LABELLED and kinds.get(head.name) == head.kind
        }

    def heads_into(self, model: HeadedModel) -> None:
        """Put its heads into those of the same name and kind; `model.inherited` names them.

        Rows are matched by label; labels that it does not know stay as they are and are listed, as positions,
        in `model.fresh`. A regress head is rescaled to the new numbers. Raises Damaged for unreadable heads.
        """
        try:
            weights = load_file(self.path / HEADS)
        except (OSError, SafetensorError) as error:
            raise Damaged(f"{self.path / HEADS} can't be read: {error}; {RESTORE}") from error
        for spec in self.card.heads:
            own = model.specs.get(spec.name)
            if own is None or own.kind != spec.kind or spec.kind == "embed":
                continue
            head = model.heads[spec.name]
            parts = {part: weights[f"{spec.name}.{part}"] for part in ("weight", "bias")}
            if parts["weight"].shape[1] != head.weight.shape[1]:  # type: ignore[index]
                raise BadInput(f"head {spec.name!r} of {self.path} reads vectors of another width")
            with torch.no_grad():
                fresh = taken_over(head, own, spec, parts)
            model.inherited.add(spec.name)
            if fresh:
                model.fresh[spec.name] = fresh


def taken_over(
    head: torch.nn.Module, own: HeadSpec, spec: HeadSpec, parts: Mapping[str, Tensor]
) -> list[int]:
    """Set `head`, of spec `own`, to the weight and bias in `parts`, of an earlier head `spec` of its kind.

    Returns the positions of labels that the earlier head did not know, whose rows stay as they are.
    """
    if spec.kind == "regress":
        parts = {
            "weight": parts["weight"] * spec.spread / own.spread,
            "bias": (parts["bias"] * spec.spread + spec.centre - own.centre) / own.spread,
        }
    if spec.kind not in LABELLED:
        head.load_state_dict(dict(parts))
        return []
    shared = [label for label in own.labels if label in spec.labels]
    to, fro = [own.labels.index(label) for label in shared], [spec.labels.index(label) for label in shared]
    for part, values in parts.items():
        getattr(head, part)[to] = values[fro]
    return [i for i, label in enumerate(own.labels) if label not in spec.labels]


def imprint(model: HeadedModel, vectors: FloatArray, rows: Sequence[Example]) -> None:
    """Start the fresh labels of taken-over classify heads from the mean vector of their rows.

    As long as the known labels' rows are, and away from the mean of all rows (Qi et al. 2018, Low-Shot
    Learning with Imprinted Weights). `vectors` (n, dim) are those of `rows`; a label without a row, and heads
    of other kinds, keep their random start.
    """
    for name, fresh in model.fresh.items():
        chosen = [i for i, row in enumerate(rows) if name in row.targets]
        if model.specs[name].kind != "classify" or not chosen:
            continue
        own = vectors[chosen] - vectors[chosen].mean(0)
        truth = np.asarray([rows[i].targets[name] for i in chosen])
        weight, bias = model.heads[name].weight, model.heads[name].bias
        old = [i for i in range(len(weight)) if i not in fresh]  # type: ignore[arg-type]
        with torch.no_grad():
            length = torch.linalg.vector_norm(weight[old], dim=1).mean()  # type: ignore[index]
            for label in fresh:
                mean = own[truth == label].mean(0) if (truth == label).any() else np.zeros(own.shape[1])
                if np.linalg.norm(mean) > 1e-6:
                    towards = torch.from_numpy(mean / np.linalg.norm(mean)).to(weight.device)  # type: ignore[arg-type]
                    weight[label] = length * towards  # type: ignore[operator]
                    bias[label] = bias[old].mean()  # type: ignore[index, operator]
