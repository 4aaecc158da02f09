"""The contract of a vector index, as a test class with known answers."""
# ruff: noqa: D102 - the names of the tests say what they show

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from shared.errors import BadInput, NotFound
from shared.index.vector import FloatArray, Hit, VectorIndex

Make = Callable[[Sequence[str], Sequence[Sequence[float]]], VectorIndex]
Load = Callable[[Path], VectorIndex]


def rows(values: Sequence[Sequence[float]]) -> FloatArray:
    """Return `values` as (n, dim) float32."""
    return np.array(values, dtype=np.float32)


def names(found: list[list[Hit]]) -> list[list[str]]:
    """Return the ids of each query's hits."""
    return [[hit.id for hit in hits] for hits in found]


class VectorIndexContract:
    """Subclass it; give the fixtures `make` (an index with these rows) and `load` (a saved one)."""

    def test_nearest_first_with_its_cosine(self, make: Make) -> None:
        index = make(["east", "north"], [[2.0, 0.0], [0.0, 5.0]])  # not unit length on purpose
        (hits,) = index.search(rows([[3.0, 0.3]]), 2)
        assert [hit.id for hit in hits] == ["east", "north"]
        assert hits[0].score == pytest.approx(0.995037, abs=2e-6)
        assert hits[1].score == pytest.approx(0.099504, abs=2e-6)

    def test_result_i_belongs_to_query_i(self, make: Make) -> None:
        index = make(["east", "north"], [[1, 0], [0, 1]])
        assert names(index.search(rows([[0, 1], [1, 0], [0, 2]]), 1)) == [["north"], ["east"], ["north"]]

    def test_opposite_direction_is_minus_one(self, make: Make) -> None:
        assert make(["west"], [[-1, 0]]).search(rows([[1, 0]]), 1) == [[Hit("west", -1.0)]]

    def test_ties_go_by_id_even_at_the_cut(self, make: Make) -> None:
        many = [f"row{n:03}" for n in range(200)]
        index = make([*reversed(many), "far"], [*[[1.0, 1.0]] * 200, [0.0, 1.0]])
        assert names(index.search(rows([[1, 0], [1, 1]]), 3)) == [many[:3], many[:3]]
        assert names(index.search(rows([[1, 0]]), 3, allow=many[50:])) == [many[50:53]]

    def test_fewer_rows_than_k_gives_what_there_is(self, make: Make) -> None:
        assert names(make(["a", "b"], [[1, 0], [0, 1]]).search(rows([[1, 0]]), 50)) == [["a", "b"]]

    def test_no_rows_and_no_queries(self, make: Make) -> None:
        index = make(["a"], [[1, 0]])
        assert index.search(np.zeros((0, 2), dtype=np.float32), 3) == []
        index.remove(["a"])
        assert len(index) == 0
        assert index.search(rows([[1, 0], [0, 1]]), 3) == [[], []]
        assert index.vectors_of([]).shape == (0, 2)

    def test_only_allowed_ids_count_towards_k(self, make: Make) -> None:
        angles = np.linspace(0, 1.5, 100)
        index = make([f"{n:02}" for n in range(100)], np.stack([np.cos(angles), np.sin(angles)], 1).tolist())
        assert names(index.search(rows([[1, 0]]), 2, allow={"90", "97", "40"})) == [["40", "90"]]
        assert names(index.search(rows([[1, 0]]), 2, allow=["99", "unknown"])) == [["99"]]
        assert index.search(rows([[1, 0]]), 2, allow=[]) == [[]]
        assert index.search(rows([[1, 0]]), 2, allow=["unknown"]) == [[]]

    def test_adding_an_id_again_replaces_its_row(self, make: Make) -> None:
        index = make(["a", "b"], [[1, 0], [0, 1]])
        index.add(["b", "c", "b"], rows([[1, 1], [1, -1], [-1, 0]]))
        assert index.ids() == ["a", "b", "c"]
        assert names(index.search(rows([[-1, 0]]), 3)) == [["b", "c", "a"]]
        assert index.vectors_of(["b"]).tolist() == [[-1, 0]]

    def test_removing_a_row_leaves_the_others_under_their_ids(self, make: Make) -> None:
        index = make(["a", "b", "c", "d"], [[1, 0], [0, 1], [-1, 0], [0, -1]])
        assert index.remove(["b", "unknown", "b"]) == 1
        assert index.ids() == ["a", "c", "d"]
        for name, query in {"a": [1, 0], "c": [-1, 0], "d": [0, -1]}.items():
            assert index.search(rows([query]), 1) == [[Hit(name, 1.0)]]
        assert "b" not in names(index.search(rows([[0, 1]]), 10))[0]
        assert index.remove([]) == 0

    def test_removed_saved_loaded_added_searched(self, make: Make, load: Load, tmp_path: Path) -> None:
        index = make(["a", "b", "c"], [[1, 0], [0, 1], [-1, 0]])
        index.remove(["a"])
        index.save(tmp_path / "index", "encoder-1", 7)
        again = load(tmp_path / "index")
        assert again.ids() == ["b", "c"]
        again.add(["d", "b"], rows([[0, -1], [1, 0]]))
        assert again.remove(["c"]) == 1
        assert names(again.search(rows([[0, -1], [1, 0]]), 5)) == [["d", "b"], ["b", "d"]]
        assert index.ids() == ["b", "c"]

    def test_vectors_come_back_at_unit_length_in_the_asked_order(self, make: Make) -> None:
        index = make(["a", "b"], [[3, 4], [0, 9]])
        found = index.vectors_of(["b", "a", "b"])
        assert np.abs(found - rows([[0, 1], [0.6, 0.8], [0, 1]])).max() < 1e-6
        with pytest.raises(NotFound, match="'z'"):
            index.vectors_of(["a", "z"])

    def test_what_comes_back_is_a_copy(self, make: Make) -> None:
        index = make(["a"], [[1, 0]])
        index.vectors_of(["a"])[:] = 9
        assert index.vectors_of(["a"]).tolist() == [[1, 0]]

    def test_tiny_and_huge_rows_have_a_direction_too(self, make: Make) -> None:
        index = make(["tiny", "huge"], [[1e-30, 1e-30], [1e30, 0.0]])
        assert names(index.search(rows([[1e-30, 0], [1, 1]]), 1)) == [["huge"], ["tiny"]]

    @pytest.mark.parametrize(
        ("vectors", "said"),
        [
            ([[1.0, 0.0], [0.0, 0.0]], "zero"),
            ([[1.0, 0.0], [float("nan"), 1.0]], "not finite"),
            ([[1.0, 0.0], [float("inf"), 1.0]], "not finite"),
            ([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], "shape"),
            ([[1.0, 0.0]], "2 ids came with 1"),
        ],
    )
    def test_rows_that_are_no_directions_are_refused(
        self, make: Make, vectors: list[list[float]], said: str
    ) -> None:
        index = make(["a"], [[1, 0]])
        with pytest.raises(BadInput, match=said):
            index.add(["b", "c"], rows(vectors))
        assert index.ids() == ["a"]

    def test_an_empty_id_is_refused(self, make: Make) -> None:
        index = make(["a"], [[1, 0]])
        with pytest.raises(BadInput, match="empty"):
            index.add([""], rows([[1, 0]]))

    @pytest.mark.parametrize("query", [[0.0, 0.0], [float("nan"), 1.0], [1.0, 0.0, 0.0]])
    def test_queries_that_are_no_directions_are_refused(self, make: Make, query: list[float]) -> None:
        with pytest.raises(BadInput):
            make(["a"], [[1, 0]]).search(rows([query]), 1)

    def test_k_below_one_is_refused(self, make: Make) -> None:
        with pytest.raises(BadInput, match="k is 0"):
            make(["a"], [[1, 0]]).search(rows([[1, 0]]), 0)
