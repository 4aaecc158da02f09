"""Other programs read our folders as the same encoder."""

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from shared.finetuning import bases
from shared.finetuning.recipe import Recipe
from shared.finetuning.rows import Rows
from shared.finetuning.train import export_frozen, finetune
from shared.models.text_model import TextModel
from shared.testing.tiny_models import tiny_bert, tiny_rows

TEXTS = ["where is my card", "the money did not arrive at home today", "rate"]
LABELLED = {"label": {"kind": "classify", "data": "rows"}, "vector": {"kind": "embed"}}
TAGGED = {"tags": {"kind": "tag", "data": "words"}, "vector": {"kind": "embed"}}


def agree(folder, **how):
    theirs = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    ours = TextModel.load(folder)
    assert theirs.max_seq_length == ours.max_tokens
    assert np.abs(theirs.encode(TEXTS, **how) - ours.embed(TEXTS, query=bool(how))).max() < 1e-5


@pytest.fixture(params=["mean", "cls"])
def base(request, tmp_path):
    return tiny_bert(tmp_path / "base", [row["text"] for row in tiny_rows()], pooling=request.param)


def test_a_tuned_model_gives_its_vectors_to_sentence_transformers(base, tmp_path):
    tree = {"base": str(base), "data": {"rows": {}}, "heads": LABELLED}
    train = {"epochs": 1, "rate": 1e-3, "precision": "fp32", "max_tokens": 9}
    for kind in ("full", "lora"):
        made = Recipe.parse({**tree, "method": {"kind": kind}, "train": train})
        finetune(made, {"rows": Rows(tiny_rows())}, tmp_path / kind, home=tmp_path, progress=False)
        agree(tmp_path / kind)


def test_so_does_one_that_uses_the_lower_layers_of_its_base(base, tmp_path):
    words = [{"tokens": row["text"].split(), "tags": ["B-x"] + ["O"] * 20} for row in tiny_rows()]
    rows = [{**row, "tags": row["tags"][: len(row["tokens"])]} for row in words]
    tree = {"base": str(base), "data": {"words": {}}, "heads": TAGGED, "method": {"depth": 1}}
    made = Recipe.parse({**tree, "train": {"epochs": 1, "rate": 1e-3, "precision": "fp32"}})
    finetune(made, {"words": Rows(rows)}, tmp_path / "out", home=tmp_path, progress=False)
    agree(tmp_path / "out")


def test_an_added_base_keeps_its_pooling_and_its_prefix_is_a_prompt(base, tmp_path):
    pooling = bases.resolve(str(base), home=tmp_path).pooling
    export_frozen(str(base), tmp_path / "first", home=tmp_path)
    more = {"pooling": pooling, "query_prefix": "where is my ", "licence": "CC0"}
    bases.add("own", tmp_path / "first", home=tmp_path, **more)
    export_frozen("own", tmp_path / "second", home=tmp_path)
    agree(tmp_path / "second")
    agree(tmp_path / "second", prompt_name="query")
    SentenceTransformer(str(bases.resolve("own", home=tmp_path).path), device="cpu", local_files_only=True)


def test_parts_beside_the_base_are_no_folder_for_other_programs(tmp_path, base):
    tree = {"base": str(base), "data": {"rows": {}}, "heads": LABELLED, "method": {"kind": "adapter"}}
    made = Recipe.parse({**tree, "train": {"epochs": 1, "rate": 1e-3, "precision": "fp32"}})
    finetune(made, {"rows": Rows(tiny_rows())}, tmp_path / "out", home=tmp_path, progress=False)
    assert not (tmp_path / "out" / "modules.json").exists()
