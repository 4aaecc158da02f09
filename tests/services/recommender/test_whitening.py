import numpy as np
import pytest

from services.recommender.whitening import WhitenedEncoder, Whitening
from shared.errors import Damaged


def crowded(n=400, dim=12):
    """Vectors that share one large direction and one wide axis, as sentence vectors do."""
    rng = np.random.default_rng(3)
    rows = rng.normal(size=(n, dim)) * np.linspace(0.2, 2, dim) + 4.0
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_whitened_vectors_have_no_common_direction_and_unit_length():
    raw = crowded()
    white = Whitening.fit(raw).apply(raw)
    assert np.linalg.norm(white, axis=1) == pytest.approx(1.0, abs=1e-5)
    assert np.linalg.norm(raw.mean(axis=0)) > 0.8
    assert np.linalg.norm(white.mean(axis=0)) < 0.15
    spread = np.linalg.eigvalsh(np.cov(white.T))
    assert spread.max() / spread.min() < 3


def test_it_comes_back_from_its_files_and_keeps_its_name(tmp_path):
    whitening = Whitening.fit(crowded())
    whitening.save(tmp_path)
    loaded = Whitening.load(tmp_path)
    assert loaded.name == whitening.name
    assert np.array_equal(loaded.apply(crowded()), whitening.apply(crowded()))


def test_vectors_of_two_whitenings_have_two_fingerprints():
    class Inner:
        dim, fingerprint = 12, "inner"

        def embed(self, texts, *, query=False):
            return crowded(len(texts))

    one = WhitenedEncoder(Inner(), Whitening.fit(crowded()))
    other = WhitenedEncoder(Inner(), Whitening.fit(crowded(200)))
    assert one.fingerprint.startswith("inner+")
    assert one.fingerprint != other.fingerprint
    assert one.embed([]).shape == (0, 12)


def test_with_fewer_texts_than_axes_vectors_are_only_centred():
    raw = crowded(8)
    centred = raw - raw.mean(axis=0)
    centred /= np.linalg.norm(centred, axis=1, keepdims=True)
    white = Whitening.fit(raw).apply(raw)
    assert white @ white.T == pytest.approx(centred @ centred.T, abs=1e-4)


def test_one_item_alone_is_left_as_it_is():
    raw = crowded(1)
    assert Whitening.fit(raw).apply(raw) == pytest.approx(raw, abs=1e-6)


def test_damaged_files_are_refused(tmp_path):
    Whitening.fit(crowded()).save(tmp_path)
    (tmp_path / "axes.npy").write_bytes(b"no array")
    with pytest.raises(Damaged, match="train"):
        Whitening.load(tmp_path)
