"""The losses of the heads, each summed over rows: the model divides by the rows of a step."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from shared.finetuning.collate import IGNORED
from shared.models.heads import GRADED


def head_loss(kind: str, logits: Tensor, target: Mapping[str, Tensor], smoothing: float) -> Tensor:
    """Return the loss of a head, summed over rows; a row of several tokens, spans or windows counts once."""
    if kind == "tag":
        labels = target["labels"]
        return mean_by_row(logits[labels != IGNORED], labels, smoothing)
    if kind == "entity":
        spans = (logits * target["mask"].unsqueeze(-1)).sum(1)
        losses = functional.cross_entropy(
            spans, target["labels"], label_smoothing=smoothing, reduction="none"
        )
        return (losses * target["shares"]).sum()
    if kind == "span":
        sides = [
            functional.cross_entropy(logits[..., side], target[name], reduction="none")
            for side, name in enumerate(("starts", "ends"))
        ]
        return ((sides[0] + sides[1]) / 2 * target["shares"]).sum()
    labels = target["labels"]
    if kind == "multilabel":
        return functional.binary_cross_entropy_with_logits(logits, labels, reduction="none").mean(1).sum()
    if kind in GRADED:
        return functional.binary_cross_entropy_with_logits(logits[:, 0], labels, reduction="sum")
    if kind == "regress":
        return (logits[:, 0] - labels).square().sum()
    return functional.cross_entropy(logits, labels, label_smoothing=smoothing, reduction="sum")


def rows_of(target: Mapping[str, Tensor]) -> Tensor | int:
    """Return how many rows a head's loss is the sum over; one of several spans or windows counts once."""
    if "shares" in target:
        return target["shares"].sum()
    return len(target["anchors"] if "anchors" in target else target["rows"])


def mean_by_row(logits: Tensor, labels: Tensor, smoothing: float) -> Tensor:
    """Return the mean cross-entropy of each row's labelled places, summed over rows.

    `logits` (places, classes) belong to the places of `labels` (rows, tokens) other than -100, in order.
    """
    seen = labels != IGNORED
    shares = seen.float() / seen.sum(1, keepdim=True).clamp(min=1)
    losses = functional.cross_entropy(logits, labels[seen], label_smoothing=smoothing, reduction="none")
    return (losses * shares[seen]).sum()


def matryoshka_loss(
    vectors: Tensor, target: Mapping[str, Tensor], temperature: float, sizes: Sequence[int]
) -> Tensor:
    """Return the mean of the contrastive loss over the first n numbers of the vectors, for every n.

    Kusupati et al. 2022, Matryoshka Representation Learning.
    """
    losses = [
        contrastive_loss(functional.normalize(vectors[:, :size], dim=-1), target, temperature)
        for size in dict.fromkeys(sizes)
    ]
    return torch.stack(losses).mean()


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
