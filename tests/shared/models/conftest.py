from pathlib import Path

import pytest

from shared.finetuning.recipe import Recipe
from shared.finetuning.rows import Rows
from shared.finetuning.train import finetune
from shared.testing.tiny_models import tiny_bert, tiny_rows


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with one head of each kind, whose base has a query prefix."""
    home, rows = tmp_path_factory.mktemp("trained"), tiny_rows()
    base = tiny_bert(home / "base", [row["text"] for row in rows])
    heads = {
        "intent": {"kind": "classify", "data": "rows"},
        "tags": {"kind": "multilabel", "data": "rows", "label": "tags"},
        "embed": {"kind": "embed"},
    }
    recipe = Recipe.parse({"base": str(base), "heads": heads, "method": {"kind": "frozen"}})
    finetune(recipe, {"rows": Rows(rows[::2], rows[1::2])}, home / "model", home=home, progress=False)
    return home / "model"
