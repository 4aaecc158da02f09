"""Weights between the start of a training and its end, which often do better than either.

Wortsman et al. 2022, Robust fine-tuning of zero-shot models: the straight line between the weights before and
after tuning; here the start is the base with heads fitted on its frozen vectors.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from shared.finetuning.backbone import HeadedModel
from shared.finetuning.calibrate import log_loss, temperature
from shared.finetuning.examples import Example
from shared.finetuning.feeding import Feed
from shared.finetuning.outputs import placed, said_in_training, stacked
from shared.finetuning.probe import MOST
from shared.finetuning.validate import validate
from shared.models.heads import LABELLED

SHARES = (1.0, 0.85, 0.7, 0.5, 0.3, 0.15)  # of the tuned weights, that "auto" tries
UNSEEN = 0.7  # without rows to choose on
PART = 0.1  # of the rows that heads are first fitted on: so many validation rows tell shares apart
Weights = Mapping[str, torch.Tensor]


def blend(model: HeadedModel, start: Weights, share: float) -> None:
    """Set the model's weights to `share` of themselves and the rest of `start`, where that has any."""
    with torch.no_grad():
        for name, own in model.state_dict().items():
            if name in start and own.is_floating_point():
                own.lerp_(start[name].to(own.device), 1 - share)


def looked_at(valid: int, start_rows: int | None = None) -> int:
    """Return how many validation rows are read for each share, where `start_rows` are for the start."""
    return min(valid, max(1, round(PART * (start_rows or MOST))))


def blend_best(
    model: HeadedModel,
    feed: Feed,
    start: Weights,
    valid: Sequence[Example],
    precision: str,
    most: int | None = None,
) -> float:
    """Blend with the share of SHARES that has the least loss on `valid` (of equal ones the largest), and
    return it; UNSEEN where there are no such rows.

    At most `most` rows, always the same, are looked at. The loss is that of probabilities with a
    temperature of their own: a share is to be right, calibration comes later. Heads without probabilities
    count by what their validation score lacks to 1.
    """
    if not valid:
        blend(model, start, UNSEEN)
        return UNSEEN
    if most is not None and len(valid) > most:
        drawn = np.random.default_rng(0).permutation(len(valid))[:most]
        valid = [valid[i] for i in sorted(drawn)]
    end = {name: part.clone() for name, part in model.state_dict().items()}
    losses = []
    for share in SHARES:
        model.load_state_dict(end)
        blend(model, start, share)
        losses.append(_loss(model, feed, valid, precision))
    best = SHARES[int(np.argmin(losses))]
    model.load_state_dict(end)
    blend(model, start, best)
    return best


def _loss(model: HeadedModel, feed: Feed, valid: Sequence[Example], precision: str) -> float:
    specs = [s for s in model.specs.values() if s.kind in LABELLED]
    plain = {n: s for n, s in model.specs.items() if s not in specs and model.recipes[n].data}
    losses = []
    if specs:
        said = said_in_training(model, feed, valid, precision)
        for spec in specs:
            chosen = [i for i, row in enumerate(valid) if spec.name in row.targets]
            own = [valid[i] for i in chosen]
            if spec.kind in ("tag", "entity"):
                logits, positions = placed(spec, own, [said[i] for i in chosen])
                truth = positions.astype(np.float64)
            elif own:
                truth = np.asarray([row.targets[spec.name] for row in own], np.float64)
                logits = stacked([said[i] for i in chosen], spec.name)
            if own and len(truth):
                scaled = logits.astype(np.float64) / temperature(spec, logits, truth)
                losses.append(log_loss(spec, scaled, truth))
    if plain:
        scores = validate(model, feed, valid, precision)
        losses += [1 - scores[name] for name in plain if name in scores]
    return float(np.mean(losses)) if losses else 0.0
