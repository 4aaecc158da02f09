"""Texts written in another language and back, by two sequence-to-sequence models on this machine."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from shared.errors import BadInput, NotFound
from shared.finetuning.generating.folder import load, load_tokenizer
from shared.finetuning.weights import check_safe
from shared.models.batching import batches

LONGEST = 256  # tokens of a text and of its translation


class Translation:
    """One direction: a local Hugging Face folder of an encoder-decoder (Marian, T5, mBART and the like).

    Raises NotFound where there is no such folder, BadInput for what can't be loaded safely.
    """

    def __init__(self, folder: str) -> None:
        path = Path(folder)
        if not (path / "config.json").is_file():
            raise NotFound(f"there is no translation model in {folder}; give a local Hugging Face folder")
        if not check_safe(path).get("is_encoder_decoder"):
            raise BadInput(f"{folder} is no encoder-decoder; augment.there and augment.back translate texts")
        self._tokenizer = load_tokenizer(path)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self._model: Any = load(path, "seq2seq").to(device).eval()

    def write(self, texts: Sequence[str], *, seed: int | None = None) -> list[str]:
        """Return each text in the other language, in order: the likeliest words, with a seed drawn ones."""
        found = [""] * len(texts)
        drawn: dict[str, Any] = {"do_sample": False} if seed is None else {"do_sample": True, "top_p": 0.9}
        with torch.random.fork_rng(), torch.inference_mode():
            if seed is not None:
                torch.manual_seed(seed)
            for batch in batches([len(text) for text in texts]):
                fed = self._tokenizer(
                    [texts[i] for i in batch],
                    padding=True,
                    truncation=True,
                    max_length=LONGEST,
                    return_tensors="pt",
                ).to(self._model.device)
                most = min(LONGEST, 2 * fed["input_ids"].shape[1] + 16)
                written = self._model.generate(**fed, max_new_tokens=most, num_beams=1, **drawn)
                said = self._tokenizer.batch_decode(written, skip_special_tokens=True)
                for i, text in zip(batch, said, strict=True):
                    found[i] = " ".join(text.split())
        return found


def there_and_back(texts: Sequence[str], there: str, back: str, *, copies: int, seed: int) -> list[list[str]]:
    """Return `copies` of every text by way of another language, in order.

    The first takes the likeliest words both ways, the others draw theirs; equal ones are for the caller to
    drop.
    """
    out, home = Translation(there), Translation(back)
    seeds = [None, *(seed * 1_000_003 + n for n in range(1, copies))]
    by_copy = [home.write(out.write(texts, seed=one), seed=one) for one in seeds]
    return [list(own) for own in zip(*by_copy, strict=True)] if texts else []
