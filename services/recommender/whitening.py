"""Whitened sentence vectors: raw ones share a large common direction and rank two to three times worse."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from services.recommender.domain import FloatArray
from shared.errors import Damaged
from shared.models.encoder import Encoder

FLOOR = 0.001  # share of the largest variance added to each: axes of mere noise are not blown up
_FILES = ("mean", "axes")


@dataclass(frozen=True)
class Whitening:
    """Subtract `mean` (dim,), multiply by `axes` (dim, dim), unit length."""

    mean: FloatArray
    axes: FloatArray

    @classmethod
    def fit(cls, vectors: FloatArray) -> "Whitening":
        """Learn from the vectors (n, dim) of a catalogue; fewer than two rows give the identity.

        The covariance is shrunk towards a multiple of the identity by dim / n: few texts can't tell
        the narrow axes from noise, and blowing those up hides the meaning. At n <= dim the vectors
        are only centred.
        """
        dim = vectors.shape[1]
        if len(vectors) < 2:
            return cls(np.zeros(dim, np.float32), np.eye(dim, dtype=np.float32))
        wide = vectors.astype(np.float64)
        mean = wide.mean(axis=0)
        covariance, shrink = np.cov((wide - mean).T), min(1.0, dim / len(vectors))
        even = np.trace(covariance) / dim * np.eye(dim)
        variances, axes = np.linalg.eigh((1 - shrink) * covariance + shrink * even)
        scale = 1.0 / np.sqrt(np.maximum(variances, 0) + FLOOR * max(float(variances[-1]), 1e-12))
        return cls(mean.astype(np.float32), (axes * scale).astype(np.float32))

    @property
    def name(self) -> str:
        """A short hash: vectors of different whitenings may not meet."""
        return hashlib.sha256(self.mean.tobytes() + self.axes.tobytes()).hexdigest()[:12]

    def apply(self, vectors: FloatArray) -> FloatArray:
        """Return the whitened vectors (n, dim) at unit length; one equal to the mean keeps its direction."""
        moved = (vectors - self.mean) @ self.axes  # (n, dim)
        lengths = np.linalg.norm(moved, axis=1, keepdims=True)
        unit = np.where(lengths > 1e-6, moved / np.maximum(lengths, 1e-6), vectors)
        return np.ascontiguousarray(unit, dtype=np.float32)

    def save(self, folder: Path) -> None:
        """Write two .npy files into `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in _FILES:
            np.save(folder / f"{name}.npy", getattr(self, name), allow_pickle=False)

    @classmethod
    def load(cls, folder: Path) -> "Whitening":
        """Return what `save` wrote; raises Damaged."""
        try:
            mean, axes = (np.load(folder / f"{name}.npy", allow_pickle=False) for name in _FILES)
        except (OSError, ValueError) as error:
            raise Damaged(f"the whitening in {folder} can't be read: {error}; train again") from error
        if mean.ndim != 1 or axes.shape != (len(mean), len(mean)):
            raise Damaged(f"the whitening in {folder} has shapes {mean.shape} and {axes.shape}; train again")
        return cls(mean, axes)


class WhitenedEncoder:
    """An `Encoder` whose vectors are whitened; its fingerprint names both parts."""

    def __init__(self, inner: Encoder, whitening: Whitening) -> None:
        self._inner, self._whitening = inner, whitening
        self._fingerprint = f"{inner.fingerprint}+{whitening.name}"

    @property
    def dim(self) -> int:
        """Width of a vector."""
        return self._inner.dim

    @property
    def fingerprint(self) -> str:
        """Names the encoder and the whitening."""
        return self._fingerprint

    def embed(self, texts: Sequence[str], *, query: bool = False) -> FloatArray:
        """Return (n, dim) float32 at unit length, row i for text i."""
        if not texts:
            return np.zeros((0, self.dim), np.float32)
        return self._whitening.apply(self._inner.embed(texts, query=query))
