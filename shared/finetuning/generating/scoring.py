"""How well a generator foretells and writes the replies that people gave."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from shared.evaluation.generation import perplexity, rouge_l_each
from shared.finetuning.generating.encoding import Encoding
from shared.finetuning.generating.examples import QUESTION, REPLY, Collator, Row, examples, passages
from shared.finetuning.generating.projection import losses
from shared.finetuning.generator import Generator

PerRow = npt.NDArray[np.float64]


@dataclass(frozen=True)
class GeneratorScores:
    """By row, in order: summed `nats` and count of the reply's `tokens`; `rouge_l` and `replies` of those
    rows that were written, `written` their places."""

    nats: PerRow
    tokens: PerRow
    rouge_l: PerRow
    replies: list[str]
    written: list[int]

    def metrics(self) -> dict[str, float]:
        """Return {perplexity, rouge_l}: over all reply tokens, and the mean over the written rows."""
        overlap = float(self.rouge_l.mean()) if len(self.rouge_l) else float("nan")
        return {"perplexity": perplexity(self.nats, self.tokens), "rouge_l": overlap}


def measure(
    generator: Generator,
    rows: Sequence[Row],
    *,
    written: int | None = None,
    batch: int = 8,
    precision: str = "fp32",
) -> GeneratorScores:
    """Score `rows` (each with question and reply); at most `written` of them, evenly spread, are written.

    Writing costs by far the most: a word is a pass through the model.
    """
    nats, tokens = reply_losses(
        generator.model, generator.encoding, examples(rows, generator.encoding), batch, precision
    )
    count = min(len(rows), len(rows) if written is None else written)
    places = sorted({int(place) for place in np.linspace(0, len(rows) - 1, count)}) if count else []
    said = generator.replies([(str(rows[n][QUESTION]), passages(rows[n])) for n in places], batch=batch)
    overlap = rouge_l_each([str(rows[n][REPLY]) for n in places], said)
    return GeneratorScores(nats, tokens, overlap, said, places)


@torch.inference_mode()
def reply_losses(
    model: Any, encoding: Encoding, rows: Sequence[Mapping[str, Any]], batch: int, precision: str
) -> tuple[PerRow, PerRow]:
    """Return (summed nats, tokens) of each example's reply, in order; the model's mode is kept."""
    collate, training = Collator(encoding, model), model.training
    order = sorted(range(len(rows)), key=lambda n: len(rows[n]["input_ids"]))
    nats, tokens = np.zeros(len(rows)), np.zeros(len(rows))
    device = next(model.parameters()).device
    model.eval()
    with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
        for start in range(0, len(order), batch):
            part = order[start : start + batch]
            fed = {name: value.to(device) for name, value in collate([rows[n] for n in part]).items()}
            found, counted = losses(model, fed, encoding.kind)
            nats[part], tokens[part] = found.double().cpu().numpy(), counted.cpu().numpy()
    model.train(training)
    return nats, tokens
