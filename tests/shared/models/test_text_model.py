import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from shared.errors import Conflict, Damaged, NotFound
from shared.models.text_model import TextModel
from shared.testing.encoders import EncoderContract, WordEncoder

TEXTS = ["where is my card", "which rate is used again, today and now", "", "money"]


class TestTextModel(EncoderContract):
    @pytest.fixture
    def encoder(self, trained):
        return TextModel.load(trained, threads=1)


class TestTorchRuntime(EncoderContract):
    @pytest.fixture
    def encoder(self, trained):
        return TextModel.load(trained, threads=1, engine="torch")


class TestWordEncoder(EncoderContract):
    @pytest.fixture
    def encoder(self):
        return WordEncoder()


@pytest.fixture
def model(trained):
    return TextModel.load(trained, threads=1)


@pytest.fixture
def copy(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "copy")
    return tmp_path / "copy"


def test_one_pass_answers_all_heads(model):
    outputs = model.run(TEXTS)
    assert outputs.vectors.shape == (4, model.dim)
    assert outputs.probabilities["intent"].shape == (4, 3)
    assert outputs.probabilities["intent"].sum(1) == pytest.approx(np.ones(4), abs=1e-5)
    assert ((outputs.probabilities["tags"] >= 0) & (outputs.probabilities["tags"] <= 1)).all()
    best = [model.heads["intent"].labels[i] for i in outputs.probabilities["intent"].argmax(1)]
    assert (best[0], best[1], best[3]) == ("card", "rate", "money")


def test_no_texts_give_arrays_of_no_rows(model):
    outputs = model.run([])
    assert outputs.vectors.shape == (0, model.dim)
    assert outputs.probabilities["intent"].shape == (0, 3)
    assert outputs.probabilities["tags"].shape[0] == 0


def test_both_runtimes_agree(trained, model):
    other = TextModel.load(trained, threads=1, engine="torch")
    assert other.fingerprint == model.fingerprint
    for name, rows in other.logits(TEXTS).items():
        assert model.logits(TEXTS)[name] == pytest.approx(rows, abs=1e-4, rel=1e-4)


def test_a_query_gets_its_prefix(model):
    plain = model.embed(["card where is"])
    model.query_prefix = "card "
    assert model.embed(["where is"], query=True) == pytest.approx(plain, abs=1e-5)
    assert model.embed(["where is"]) != pytest.approx(plain, abs=1e-2)


def test_a_long_text_is_cut_and_not_refused(model):
    assert model.embed(["card " * 5000]) == pytest.approx(model.embed(["card " * 62]), abs=1e-5)


def test_without_an_embed_head_there_are_no_vectors(model):
    del model.heads["embed"]
    assert model.run(["card"]).vectors is None
    with pytest.raises(Conflict, match="no embed head, only intent, tags"):
        model.embed(["card"])


def flip(path):
    raw = bytearray(path.read_bytes())
    for at in range(len(raw) // 2, len(raw) // 2 + 4000, 4):
        raw[at + 3] ^= 0x40  # exponents: other numbers, the same file size
    path.write_bytes(raw)


def edit(path, **fields):
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **fields}), "utf-8")


@pytest.mark.parametrize(
    ("file", "harm", "said"),
    [
        ("onnx/model.onnx.data", flip, "self-test"),
        ("onnx/model.onnx", lambda p: p.write_bytes(b"no graph"), "can't be opened"),
        ("tokenizer.json", lambda p: p.write_text("{}"), "can't be read"),
        ("model.json", lambda p: p.write_text("{"), "can't be read"),
        ("model.json", lambda p: edit(p, format=9), "can't be read"),
        ("model.json", lambda p: edit(p, max_tokens=4), "self-test"),
        ("selftest.json", lambda p: p.write_text("[]"), "can't be read"),
        ("selftest.json", lambda p: p.unlink(), "can't be read"),
    ],
)
def test_a_broken_folder_is_damaged(copy, file, harm, said):
    harm(copy / file)
    with pytest.raises(Damaged, match=said):
        TextModel.load(copy, threads=1)


def test_a_folder_without_a_card_is_not_found(tmp_path):
    with pytest.raises(NotFound, match=r"holds no model\.json"):
        TextModel.load(tmp_path)


ANSWER = """
import sys
from pathlib import Path
from shared.models.text_model import TextModel
model = TextModel.load(Path(sys.argv[1]))
assert model.run(["where is my card"]).vectors.shape[0] == 1
loaded = {name.split(".")[0] for name in sys.modules}
print(sorted(loaded & {"torch", "transformers", "sentence_transformers", "sklearn", "scipy"}))
"""


def test_an_answer_needs_no_torch(trained):
    done = subprocess.run([sys.executable, "-c", ANSWER, str(trained)], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
