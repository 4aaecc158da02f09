import json
import threading

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.errors import BadInput, Conflict, Damaged
from shared.index.flat import FlatIndex, load
from shared.testing.indexes import VectorIndexContract


class TestFlatIndex(VectorIndexContract):
    @pytest.fixture
    def make(self):
        def build(ids, vectors):
            index = FlatIndex(len(vectors[0]))
            index.add(ids, np.array(vectors, dtype=np.float32))
            return index

        return build

    @pytest.fixture
    def load(self):
        return lambda folder: load(folder, "encoder-1")[0]


IDS = [f"id{n}" for n in range(12)]
ROW = st.lists(st.integers(-3, 3), min_size=3, max_size=3).filter(any)
STEP = st.one_of(
    st.tuples(st.just("add"), st.dictionaries(st.sampled_from(IDS), ROW, max_size=6)),
    st.tuples(st.just("remove"), st.sets(st.sampled_from(IDS), max_size=4)),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    steps=st.lists(STEP, max_size=12),
    query=ROW,
    k=st.integers(1, 15),
    allow=st.none() | st.sets(st.sampled_from([*IDS, "unknown"])),
)
def test_equals_brute_force_after_any_changes(steps, query, k, allow):
    index, truth = FlatIndex(3), {}
    for what, change in steps:
        if what == "add":
            if change:
                index.add(list(change), np.array(list(change.values()), dtype=np.float32))
            truth.update(change)
        else:
            assert index.remove(change) == len(change & truth.keys())
            truth = {name: row for name, row in truth.items() if name not in change}
    assert index.ids() == sorted(truth)

    unit = np.array(query) / np.linalg.norm(query)
    cosine = {name: float(np.array(row) / np.linalg.norm(row) @ unit) for name, row in truth.items()}
    expected = sorted(
        (name for name in truth if allow is None or name in allow),
        key=lambda name: (-round(cosine[name], 5), name),  # small whole rows: unequal cosines differ by more
    )[:k]
    (hits,) = index.search(np.array([query], dtype=np.float32), k, allow=allow)
    assert [hit.id for hit in hits] == expected
    assert [hit.score for hit in hits] == pytest.approx([cosine[name] for name in expected], abs=2e-6)


def test_one_query_and_many_agree_with_each_other_and_with_numpy():
    # FAISS takes another path (a matrix product) from 20 queries on, and for more than 100 hits
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(3000, 48)).astype(np.float32)
    ids = [f"{n:04}" for n in range(len(vectors))]
    index = FlatIndex(48)
    index.add(ids, vectors)
    queries = rng.normal(size=(40, 48)).astype(np.float32)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosine = (queries / np.linalg.norm(queries, axis=1, keepdims=True)) @ unit.T  # (40, 3000)
    together = index.search(queries, 150)
    for i, hits in enumerate(together):
        alone = index.search(queries[i : i + 1], 150)[0]
        assert [hit.score for hit in hits] == pytest.approx([hit.score for hit in alone], abs=2e-6)
        best = np.sort(cosine[i])[::-1][:150]
        assert [hit.score for hit in hits] == pytest.approx(best, abs=2e-6)
        assert [cosine[i, int(hit.id)] for hit in hits] == pytest.approx(best, abs=2e-6)
    some = set(ids[::7])
    filtered = index.search(queries, 5, allow=some)
    for i, hits in enumerate(filtered):
        assert [hit.score for hit in hits] == pytest.approx(np.sort(cosine[i, ::7])[::-1][:5], abs=2e-6)


def _saved(folder):
    index = FlatIndex(4)
    index.add(["a", "b", "é"], np.eye(4, dtype=np.float32)[:3])
    index.save(folder, "encoder-1", 42)
    return folder


def test_meta_says_encoder_sequence_and_count(tmp_path):
    index, meta = load(_saved(tmp_path), "encoder-1")
    assert (meta.encoder, meta.sequence, meta.count, meta.dim, index.ids()) == (
        "encoder-1",
        42,
        3,
        4,
        ["a", "b", "é"],
    )


def test_an_empty_index_can_be_saved(tmp_path):
    FlatIndex(4).save(tmp_path, "encoder-1", 0)
    index, meta = load(tmp_path, "encoder-1")
    assert (len(index), meta.count) == (0, 0)


def test_saving_again_replaces_what_was_there(tmp_path):
    _saved(tmp_path)
    FlatIndex(2).save(tmp_path, "encoder-2", 1)
    assert load(tmp_path, "encoder-2")[0].dim == 2


def test_vectors_of_another_encoder_are_refused(tmp_path):
    with pytest.raises(Conflict, match=r"encoder-1.*encoder-2.*trillium index"):
        load(_saved(tmp_path), "encoder-2")


@pytest.mark.parametrize("name", ["meta.json", "ids.json", "vectors.faiss"])
@pytest.mark.parametrize("harm", ["flip", "cut", "empty", "gone"])
def test_a_damaged_file_is_refused_and_named(tmp_path, name, harm):
    path = _saved(tmp_path) / name
    content = bytearray(path.read_bytes())
    middle = content.index(b"42") if name == "meta.json" else len(content) // 2
    content[middle] ^= 1
    new = {"flip": content, "cut": content[: len(content) // 2], "empty": b""}
    path.unlink() if harm == "gone" else path.write_bytes(new[harm])
    with pytest.raises(Damaged, match=r"trillium index") as caught:
        load(tmp_path, "encoder-1")
    assert str(tmp_path) in caught.value.detail


def test_every_single_flipped_byte_is_noticed(tmp_path):
    body = (_saved(tmp_path) / "vectors.faiss").read_bytes()
    for place in range(len(body)):
        harmed = bytearray(body)
        harmed[place] ^= 0x10
        (tmp_path / "vectors.faiss").write_bytes(harmed)
        with pytest.raises(Damaged):
            load(tmp_path, "encoder-1")


def test_a_newer_format_says_upgrade(tmp_path):
    path = _saved(tmp_path) / "meta.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 9}))
    with pytest.raises(Conflict, match="format 9"):
        load(tmp_path, "encoder-1")


def test_width_below_one_is_refused():
    with pytest.raises(BadInput):
        FlatIndex(0)


def test_searches_go_on_right_while_rows_come_and_go():
    rng = np.random.default_rng(1)
    fixed = rng.normal(size=(50, 16)).astype(np.float32)
    index = FlatIndex(16)
    index.add([f"fixed{n}" for n in range(50)], fixed)
    done, wrong = threading.Event(), []

    def ask():
        while not done.is_set():
            for n, hits in enumerate(index.search(fixed, 1)):
                if hits[0].id != f"fixed{n}":
                    wrong.append((n, hits))

    readers = [threading.Thread(target=ask) for _ in range(3)]
    for reader in readers:
        reader.start()
    for turn in range(60):
        index.add([f"extra{n}" for n in range(turn, turn + 20)], rng.normal(size=(20, 16)).astype(np.float32))
        index.remove([f"extra{n}" for n in range(turn, turn + 15)])
    done.set()
    for reader in readers:
        reader.join()
    assert wrong == []
