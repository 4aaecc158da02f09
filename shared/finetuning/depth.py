"""How many of a base's layers are used: its lowest ones, where heads of tokens read more than at the top.

A sentence encoder is trained to say one thing of a whole text, and its last layers forget for that what each
word is; what a tagger needs stands lower (Tenney et al. 2019, BERT Rediscovers the Classical NLP Pipeline).
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from torch import nn
from transformers import AutoConfig

from shared.errors import BadInput
from shared.evaluation.classification import macro_f1
from shared.finetuning import token_probe
from shared.finetuning.backbone import HeadedModel
from shared.finetuning.bases import Base
from shared.finetuning.examples import Example
from shared.finetuning.feeding import Feed
from shared.telemetry import logger

SHARES = (1, 5 / 6, 2 / 3, 1 / 2, 1 / 3)  # of the layers, that "auto" tries
LOOKED_AT = 6000  # words or spans, which is enough to tell layers apart
_LOG = logger(__name__)


def cut(encoder: nn.Module, depth: int) -> None:
    """Keep the lowest `depth` layers; raises BadInput where there are fewer."""
    count = layers(encoder)
    if depth > count:
        raise BadInput(f"method.depth {depth} asks for more layers than the base has; give 1 to {count}")
    if depth < count:
        keep(encoder, range(depth))


def pooled(base: Base, depth: int | str | None) -> Base:
    """Return the base as it is read behind `depth` layers: below its top by the mean of the tokens, since the
    first one gathers the text in the last layers only."""
    if not isinstance(depth, int):
        return base
    config = AutoConfig.from_pretrained(base.path, local_files_only=True)
    return replace(base, pooling="mean") if depth < config.num_hidden_layers else base


def keep(encoder: nn.Module, kept: Sequence[int]) -> None:
    """Keep these layers, counted from 0 at the bottom, in their order; raises BadInput."""
    config, count = encoder.config, layers(encoder)
    if list(kept) != sorted(set(kept)) or not kept or kept[0] < 0 or kept[-1] >= count or len(kept) == count:
        raise BadInput(
            f"layers {', '.join(map(str, kept))} can't be kept; give some of 0 to {count - 1}, rising, "
            "not all"
        )
    owner, name, stack = _stack(encoder, count)
    setattr(owner, name, nn.ModuleList([stack[i] for i in kept]))
    config.num_hidden_layers = len(kept)  # type: ignore[union-attr]
    kinds = getattr(config, "layer_types", None)
    if isinstance(kinds, list) and len(kinds) == count:
        config.layer_types = [kinds[i] for i in kept]  # type: ignore[union-attr]


def layers(encoder: nn.Module) -> int:
    """Return how many layers an encoder has."""
    return int(encoder.config.num_hidden_layers)  # type: ignore[union-attr, arg-type]


def _stack(encoder: nn.Module, count: int) -> tuple[nn.Module, str, nn.ModuleList]:
    for owner in encoder.modules():
        for name, part in owner.named_children():
            if isinstance(part, nn.ModuleList) and len(part) == count:
                return owner, name, part
    raise BadInput("this architecture keeps its layers in no list of their own, so none can be left out")


def best(model: HeadedModel, feed: Feed, rows: Sequence[Example], *, seed: int, precision: str) -> int:
    """Return after how many layers of the frozen body a linear head tells tags and labels of spans best.

    Tried are SHARES of the layers, on at most LOOKED_AT words drawn by `seed`: fitted on two thirds of their
    rows, compared by macro F1 on the others, the mean over heads. Of equal ones the fewest; all where the
    rows are too few to compare.
    """
    count = layers(model.encoder)
    tried = sorted({max(1, round(share * count)) for share in SHARES})
    order = np.random.default_rng(seed).permutation(len(rows))
    means: dict[int, list[float]] = {depth: [] for depth in tried}
    for name, spec in model.specs.items():
        if spec.kind not in token_probe.FITTED:
            continue
        own = [rows[i] for i in order if name in rows[i].targets]
        found = token_probe.read(model, feed, spec, own, depths=tried, most=LOOKED_AT, precision=precision)
        seen, held = found.row % 3 != 0, found.row % 3 == 0
        if len(set(found.targets[seen].tolist())) < 2 or not held.any():
            continue
        truth = [str(one) for one in found.targets[held]]
        for depth in tried:
            weight, bias = token_probe.fitted(spec, found.vectors[depth][seen], found.targets[seen])
            said = (found.vectors[depth][held] @ weight.T + bias).argmax(1)
            means[depth].append(macro_f1(truth, [str(one) for one in said]))
    scores = {depth: round(float(np.mean(own)), 4) for depth, own in means.items() if own}
    _LOG.info("depths compared", base=count, **{f"layers_{depth}": score for depth, score in scores.items()})
    return max(scores, key=lambda depth: scores[depth]) if scores else count
