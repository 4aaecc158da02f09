from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shared.finetuning.recipe import Recipe
from shared.finetuning.rows import Rows
from shared.testing.tiny_models import tiny_bert, tiny_rows


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bert(tmp_path_factory.mktemp("tiny") / "tiny", [row["text"] for row in tiny_rows()])


@pytest.fixture(scope="session")
def rows() -> Rows:
    every = tiny_rows()
    return Rows([r for i, r in enumerate(every) if i % 4], [r for i, r in enumerate(every) if not i % 4])


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
