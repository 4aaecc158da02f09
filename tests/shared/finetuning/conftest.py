from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shared.finetuning.recipe import Recipe
from shared.finetuning.rows import Rows
from shared.finetuning.train import finetune
from shared.testing.tiny_models import tiny_bert, tiny_rows, tiny_second_rows


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bert(tmp_path_factory.mktemp("tiny") / "tiny", [row["text"] for row in tiny_rows()])


@pytest.fixture(scope="session")
def rows() -> Rows:
    every = tiny_rows()
    return Rows([r for i, r in enumerate(every) if i % 4], [r for i, r in enumerate(every) if not i % 4])


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model that knows half of `tiny_rows` and has read the words of `tiny_second_rows`."""
    home = tmp_path_factory.mktemp("trained")
    base = tiny_bert(home / "base", [row["text"] for row in (*tiny_rows(), *tiny_second_rows())])
    heads = {"intent": {"kind": "classify", "data": "rows"}, "vector": {"kind": "embed"}}
    train = {"epochs": 4, "rate": 2e-3, "batch": 8, "precision": "fp32", "patience": None}
    made = Recipe.parse({"base": str(base), "data": {"rows": {}}, "heads": heads, "train": train})
    every = tiny_rows()
    finetune(made, {"rows": Rows(every[::2], every[1::2])}, home / "model", home=home, progress=False)
    return home / "model"


@pytest.fixture
def recipe(tiny: Path) -> Callable[..., Recipe]:
    def make(**changes: Any) -> Recipe:
        heads = {
            "intent": {"kind": "classify", "data": "rows"},
            "tags": {"kind": "multilabel", "data": "rows", "label": "tags"},
            "embed": {"kind": "embed"},
        }
        train = {"epochs": 2, "rate": 1e-3, "batch": 8, "precision": "fp32", **changes.pop("train", {})}
        return Recipe.parse(
            {"base": str(tiny), "data": {"rows": {}}, "heads": heads, "train": train, **changes}
        )

    return make
