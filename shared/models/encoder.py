"""What an index may rely on in whatever turns texts into vectors."""

from collections.abc import Sequence
from typing import Protocol

from shared.models.heads import FloatArray


class Encoder(Protocol):
    """Texts to unit-length vectors. Vectors may meet only where the fingerprints are equal."""

    @property
    def dim(self) -> int:
        """Width of a vector."""

    @property
    def fingerprint(self) -> str:
        """Names the weights, the tokenizer and the pooling."""

    def embed(self, texts: Sequence[str], *, query: bool = False) -> FloatArray:
        """Return (n, dim) float32, row i for text i, each of length 1; no texts give (0, dim).

        The same text gives the same vector whatever stands beside it, up to 1e-5. `query` adds the
        model's query prefix where it has one.
        """
