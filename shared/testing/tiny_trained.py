"""A trained model folder with one head of each kind that reads a whole text, made in seconds."""

from pathlib import Path

from shared.finetuning.recipe import Recipe
from shared.finetuning.rows import Rows
from shared.finetuning.train import finetune
from shared.testing.tiny_models import tiny_bert, tiny_rows


def tiny_trained(home: Path) -> Path:
    """Write a frozen tiny BERT with the heads `intent`, `tags` and `embed`, fitted on half of `tiny_rows`,
    below `home` and return its folder."""
    rows = tiny_rows()
    base = tiny_bert(home / "base", [row["text"] for row in rows])
    heads = {
        "intent": {"kind": "classify", "data": "rows"},
        "tags": {"kind": "multilabel", "data": "rows", "label": "tags"},
        "embed": {"kind": "embed"},
    }
    recipe = Recipe.parse({"base": str(base), "heads": heads, "method": {"kind": "frozen"}})
    finetune(recipe, {"rows": Rows(rows[::2], rows[1::2])}, home / "model", home=home, progress=False)
    return home / "model"
