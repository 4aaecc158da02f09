"""An encoder without weights, and the contract that every encoder keeps."""
# ruff: noqa: D102 - the names of the tests say what they show

import hashlib
import re
from collections.abc import Sequence

import numpy as np
import pytest

from shared.models.encoder import Encoder
from shared.models.heads import FloatArray

_WORD = re.compile(r"\w+")


class WordEncoder:
    """Texts that share words are close: a bag of hashed words, of unit length; no weights, no luck.

    A text without words points in a direction of its own.
    """

    def __init__(self, dim: int = 64) -> None:
        self.dim = dim
        self.fingerprint = f"fake-words-{dim}"

    def embed(self, texts: Sequence[str], *, query: bool = False) -> FloatArray:
        """Return (n, dim) unit-length vectors; `query` makes no difference."""
        found = np.zeros((len(texts), self.dim), np.float32)
        for row, text in zip(found, texts, strict=True):
            for word in _WORD.findall(text.lower()) or [""]:
                row[int.from_bytes(hashlib.blake2b(word.encode(), digest_size=4).digest()) % self.dim] += 1.0
        lengths = np.linalg.norm(found, axis=1, keepdims=True)
        return np.asarray(found / np.maximum(lengths, 1e-12), np.float32)


class EncoderContract:
    """Subclass it and give the fixture `encoder`."""

    TEXTS = ("where is my card", "a much longer text than the first, with many more words in it", "", "card")

    def test_unit_rows_of_the_stated_width(self, encoder: Encoder) -> None:
        vectors = encoder.embed(self.TEXTS)
        assert vectors.dtype == np.float32
        assert vectors.shape == (4, encoder.dim)
        assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(4), abs=1e-5)

    def test_row_i_belongs_to_text_i_whatever_stands_beside_it(self, encoder: Encoder) -> None:
        together = encoder.embed(self.TEXTS)
        for text, row in zip(self.TEXTS, together, strict=True):
            assert encoder.embed([text])[0] == pytest.approx(row, abs=1e-5)

    def test_many_texts_keep_their_order(self, encoder: Encoder) -> None:
        texts = [self.TEXTS[i % 4] for i in range(70)]
        assert encoder.embed(texts) == pytest.approx(encoder.embed(self.TEXTS)[np.arange(70) % 4], abs=1e-5)

    def test_no_texts_give_no_rows(self, encoder: Encoder) -> None:
        assert encoder.embed([]).shape == (0, encoder.dim)

    def test_names_itself(self, encoder: Encoder) -> None:
        assert encoder.fingerprint
