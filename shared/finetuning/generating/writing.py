"""Writing word by word: where a reply ends, what may be shown of it already, and seeded chance."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from transformers import LogitsProcessor, PreTrainedTokenizerBase, StoppingCriteria

_BROKEN = "\ufffd"  # what a decoder gives for half of a letter


def cut(text: str, stops: Sequence[str]) -> tuple[str, bool]:
    """Return the text before the first of the stop strings, and whether one was there."""
    places = [place for stop in stops if stop and (place := text.find(stop)) >= 0]
    return (text[: min(places)], True) if places else (text, False)


def settled(text: str, stops: Sequence[str]) -> str:
    """Return the part of a growing text that nothing written later can take back.

    An end that may begin a stop string, blanks (a reply has none at its end) and half a letter wait.
    """
    text = text.lstrip().rstrip(_BROKEN)
    longest = max(
        (n for stop in stops for n in range(1, min(len(stop), len(text)) + 1) if text.endswith(stop[:n])),
        default=0,
    )
    return text[: len(text) - longest].rstrip()


class Watch(StoppingCriteria):  # type: ignore[misc]
    """Ends a row of a batch when its text holds a stop string; hands the first row's text on as it grows."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        begin: int,
        end_ids: Sequence[int],
        stops: Sequence[str],
        stream: Callable[[str], None] | None,
    ) -> None:
        self._tokenizer, self._begin, self._ends = tokenizer, begin, set(end_ids)
        self._stops, self._stream, self._shown = list(stops), stream, 0

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        """Return by row whether it is done."""
        found = []
        for n, row in enumerate(input_ids):
            text, stopped = cut(self.text(row), self._stops)
            found.append(stopped)
            if n == 0 and self._stream:
                self._show(text.strip() if stopped else settled(text, self._stops))
        return torch.tensor(found, device=input_ids.device)

    def finish(self, row: torch.Tensor) -> tuple[str, int, bool]:
        """Return (text, tokens with the end, whether it ended by itself) of a written row."""
        ids = self._written(row)
        text, stopped = cut(self.text(row), self._stops)
        return text.strip(), len(ids), stopped or bool(ids and ids[-1] in self._ends)

    def flush(self, text: str) -> None:
        """Show what was held back of the first row."""
        if self._stream:
            self._show(text)

    def text(self, row: torch.Tensor) -> str:
        """Return what a row says so far, special tokens left out."""
        ids = self._written(row)
        return str(self._tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def _written(self, row: torch.Tensor) -> list[int]:
        ids = row[self._begin :].tolist()
        end = next((n for n, one in enumerate(ids) if one in self._ends), len(ids))
        return ids[: end + 1]

    def _show(self, text: str) -> None:
        if self._stream and len(text) > self._shown:
            self._stream(text[self._shown :])
            self._shown = len(text)


class Chance(LogitsProcessor):  # type: ignore[misc]
    """Draws from the softmax at a temperature: the largest of logit plus Gumbel noise (Maddison 2014).

    The noise has a generator of its own, so that what is drawn follows from `seed` alone and not from
    what else the process does.
    """

    def __init__(self, temperature: float, seed: int) -> None:
        self._temperature, self._draw = temperature, torch.Generator().manual_seed(seed)

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Return scores whose greatest is the drawn token."""
        noise = torch.empty(scores.shape).exponential_(generator=self._draw).log().neg()
        return scores.float() / self._temperature + noise.to(scores.device)
