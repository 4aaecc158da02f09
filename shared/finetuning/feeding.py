"""Texts become padded tensors, with the characters that each token stands for."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from transformers import PreTrainedTokenizerBase

from shared.models.spans import Offsets
from shared.models.text_model import STRIDE


@dataclass(frozen=True)
class Fed:
    """Tensors for the encoder (rows, tokens) and the row of `texts` each row comes from.

    Where they were asked for: each row's offsets, in a row of a pair those of the second text (tokens of
    the first and marks have (0, 0)), and (rows, tokens) 1 at marks and padding.
    """

    tensors: dict[str, torch.Tensor]
    origin: list[int] = field(default_factory=list)
    offsets: list[Offsets] = field(default_factory=list)
    marks: torch.Tensor | None = None


class Feed:
    """Texts, or texts each with its pair, cut at `max_tokens` tokens.

    `types` passes which of two texts a token belongs to, for encoders that know.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, max_tokens: int, *, types: bool = False) -> None:
        self.tokenizer, self.max_tokens, self.types = tokenizer, max_tokens, types

    def __call__(
        self,
        texts: Sequence[str],
        pairs: Sequence[str] | None = None,
        *,
        windows: bool = False,
        offsets: bool | Literal["both"] = False,
    ) -> Fed:
        """Return padded rows, in order.

        With `windows` a second text that is too long comes as several rows that overlap by a quarter, in its
        order; without, the longer of the two is cut. `offsets` adds offsets and marks; "both" those of
        both texts of a pair.
        """
        if windows:
            texts = [_shortened(self.tokenizer, text, self.max_tokens // 2) for text in texts]
        fed = self.tokenizer(
            list(texts),
            list(pairs) if pairs is not None else None,
            padding=True,
            truncation="only_second" if windows else True,
            max_length=self.max_tokens,
            stride=self.max_tokens // STRIDE if windows else 0,
            return_overflowing_tokens=windows,
            return_offsets_mapping=bool(offsets),
            return_special_tokens_mask=bool(offsets),
            return_token_type_ids=self.types,
            return_tensors="pt",
        )
        names = ("input_ids", "attention_mask", *(("token_type_ids",) if self.types else ()))
        origin = fed["overflow_to_sample_mapping"].tolist() if windows else list(range(len(texts)))
        tensors = {name: fed[name] for name in names}
        if not offsets:
            return Fed(tensors, origin)
        sides = (0, 1) if offsets == "both" else (0,) if pairs is None else (1,)
        marks = fed["special_tokens_mask"] | (1 - fed["attention_mask"])
        return Fed(tensors, origin, [_own(fed, i, sides) for i in range(len(origin))], marks)


def _own(fed: object, row: int, sides: Sequence[int]) -> Offsets:
    of = fed.sequence_ids(row)  # type: ignore[attr-defined]
    pairs = fed["offset_mapping"][row].tolist()  # type: ignore[index]
    return [(left, right) if side in sides else (0, 0) for (left, right), side in zip(pairs, of, strict=True)]


def _shortened(tokenizer: PreTrainedTokenizerBase, text: str, most: int) -> str:
    offsets = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    return text if len(offsets) <= most else text[: offsets[most - 1][1]]
