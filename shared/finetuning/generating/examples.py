"""Rows of question, reply and sources as batches of token ids."""

import contextlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from shared.errors import BadInput
from shared.finetuning.generating.encoding import Encoding

QUESTION, REPLY, CONTEXT = "question", "reply", "context"
Row = Mapping[str, Any]


def passages(row: Row) -> list[str]:
    """Return the row's sources: `context` is a text, a list, or a list as JSON; blank ones go."""
    found = row.get(CONTEXT)
    if isinstance(found, str) and found.lstrip().startswith("["):
        with contextlib.suppress(ValueError):  # a text may begin with a bracket
            found = json.loads(found)
    texts = [found] if isinstance(found, str) else list(found or ())
    return [str(text) for text in texts if str(text).strip()]


def usable(rows: Sequence[Row]) -> list[Row]:
    """Return the rows with a question and a reply, in order; raises BadInput where the columns are absent."""
    if rows and not any(QUESTION in row and REPLY in row for row in rows):
        raise BadInput(
            f"rows have the columns {', '.join(map(str, rows[0]))}; generate learns from the columns "
            f"{QUESTION} and {REPLY}, with {CONTEXT} for sources where there are any"
        )
    return [row for row in rows if all(str(row.get(name) or "").strip() for name in (QUESTION, REPLY))]


def examples(rows: Sequence[Row], encoding: Encoding) -> list[dict[str, Any]]:
    """Return `{input_ids, labels}` by row, in order."""
    return [encoding.example(str(r[QUESTION]), passages(r), str(r[REPLY])) for r in rows]


class Collator:
    """Pads on the right; for seq2seq it also gives the decoder what it has said so far."""

    def __init__(self, encoding: Encoding, model: Any) -> None:
        self._pad = encoding.tokenizer.pad_token_id
        if self._pad is None:
            self._pad = encoding.tokenizer.eos_token_id  # masked, so any id will do
        self._model = model if encoding.kind == "seq2seq" else None

    def __call__(self, batch: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        """Return `input_ids`, `attention_mask` and `labels` (padding -100), all (batch, longest)."""
        ids = [row["input_ids"] for row in batch]
        fed = {
            "input_ids": _padded(ids, self._pad),
            "attention_mask": _padded([[1] * len(row) for row in ids], 0),
            "labels": _padded([row["labels"] for row in batch], -100),
        }
        if self._model is not None:
            fed["decoder_input_ids"] = self._model.prepare_decoder_input_ids_from_labels(labels=fed["labels"])
        return fed


def _padded(rows: Sequence[Sequence[int]], fill: int) -> torch.Tensor:
    longest = max(map(len, rows))
    return torch.tensor([[*row, *[fill] * (longest - len(row))] for row in rows])
