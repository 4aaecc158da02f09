"""Heads of tokens fitted on the frozen body: where full tuning of taggers starts from.

As for heads of whole texts, tuning from fitted heads bends the body less than tuning from random ones (see
`probe`).
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from shared.finetuning.backbone import HeadedModel
from shared.finetuning.examples import Example
from shared.finetuning.feeding import Feed
from shared.finetuning.outputs import places
from shared.finetuning.progress import bar
from shared.models.batching import batches
from shared.models.heads import FloatArray, HeadSpec

FITTED = ("tag", "entity")
C = 0.01  # inverse strength, for numbers of spread 1; .003 to .03 do about as well
MOST = 20_000  # words or spans that a fit reads
_ITERATIONS = 200


@dataclass(frozen=True)
class Read:
    """What stands at n words or spans: by depth `vectors` (n, width of the head), `targets` (n,) the position
    of the label and `row` (n,) of the example."""

    vectors: dict[int, FloatArray]
    targets: npt.NDArray[np.int64]
    row: npt.NDArray[np.int64]


def fit(
    model: HeadedModel, feed: Feed, rows: Sequence[Example], *, seed: int, precision: str = "fp32"
) -> None:
    """Set every tag and entity head to a logistic regression on the body's token rows.

    On at most MOST words or spans, of rows drawn by `seed`. Heads that an earlier model left stay as they
    are, and so does one whose words all have one label.
    """
    order = np.random.default_rng(seed).permutation(len(rows))
    for name, spec in model.specs.items():
        if spec.kind not in FITTED or name in model.inherited:
            continue
        own = [rows[i] for i in order if name in rows[i].targets]
        found = read(model, feed, spec, own, depths=(), most=MOST, precision=precision)
        if len(set(found.targets.tolist())) < 2:
            continue
        weight, bias = fitted(spec, found.vectors[0], found.targets)
        with torch.no_grad():
            model.heads[name].weight.copy_(torch.from_numpy(weight))  # type: ignore[operator]
            model.heads[name].bias.copy_(torch.from_numpy(bias))  # type: ignore[operator]


def read(
    model: HeadedModel,
    feed: Feed,
    spec: HeadSpec,
    rows: Sequence[Example],
    *,
    depths: Sequence[int],
    most: int,
    precision: str,
) -> Read:
    """Return what the head would read at the first `most` words or spans of the rows, whole rows each.

    A word is read at its first token, a span as the mean of its tokens beside the text's vector. `depths`
    are numbers of layers to read behind; without any it is the whole body, as depth 0.
    """
    count, chosen = 0, []
    for row in rows:
        if count >= most:
            break
        chosen.append(row)
        count += len(row.targets[spec.name])
    behind = depths or (0,)
    parts: dict[int, list[FloatArray]] = {depth: [] for depth in behind}
    targets: list[int] = []
    origin: list[int] = []
    device = next(model.parameters()).device
    training = model.training
    model.eval()
    half = torch.float16 if precision == "fp16" else torch.bfloat16
    with (
        torch.inference_mode(),
        torch.autocast(device.type, half, precision != "fp32"),
        bar("reading words", len(chosen)) as told,
    ):
        for batch in batches([len(row.text) for row in chosen]):
            fed = feed([chosen[i].text for i in batch], offsets=True)
            inputs = {name: part.to(device) for name, part in fed.tensors.items()}
            states = _states(model, inputs, depths)
            entity, mask = spec.kind == "entity", inputs["attention_mask"]
            beside = [[model.pooled(tokens, mask)] if entity else [] for tokens in states]
            for place, i in enumerate(batch):
                at = places(spec, chosen[i], fed.offsets[place])
                for depth, tokens, vectors in zip(behind, states, beside, strict=True):
                    parts[depth] += [
                        _one(tokens[place], [one[place] for one in vectors], own) for own, _ in at
                    ]
                targets += [label for _, label in at]
                origin += [i] * len(at)
            told(len(batch))
    model.train(training)
    width = model.width * (2 if spec.kind == "entity" else 1)
    stacked = {d: np.stack(own) if own else np.zeros((0, width), np.float32) for d, own in parts.items()}
    return Read(stacked, np.asarray(targets, np.int64), np.asarray(origin, np.int64))


def fitted(
    spec: HeadSpec, vectors: FloatArray, targets: npt.NDArray[np.int64]
) -> tuple[FloatArray, FloatArray]:
    """Return weight (labels, width) and bias (labels,) of a logistic regression on standardised numbers, for
    the numbers as they come. Labels without a row get a bias of -10."""
    centre, spread = vectors.mean(0), vectors.std(0) + 1e-6
    model = LogisticRegression(C=C, max_iter=_ITERATIONS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a start need not be at its end
        model.fit((vectors - centre) / spread, targets)
    seen = np.unique(targets)
    slope, offset = model.coef_, model.intercept_
    if len(seen) == 2:  # one line between two labels: half of it for each
        slope, offset = np.stack([-slope[0], slope[0]]) / 2, np.array([-offset[0], offset[0]]) / 2
    weights = np.zeros((len(spec.labels), vectors.shape[1]), np.float32)
    biases = np.full(len(spec.labels), -10.0, np.float32)
    weights[seen] = slope / spread
    biases[seen] = offset - (slope / spread) @ centre
    return weights, biases


def _states(model: HeadedModel, inputs: dict[str, Tensor], depths: Sequence[int]) -> list[Tensor]:
    if not depths:
        return [model.tokens(**inputs)]
    states = model.encoder(**inputs, output_hidden_states=True).hidden_states
    return [states[depth] for depth in depths]


def _one(tokens: Tensor, beside: list[Tensor], at: list[int]) -> FloatArray:
    found: FloatArray = torch.cat([tokens[at].float().mean(0), *beside]).cpu().numpy()
    return found
